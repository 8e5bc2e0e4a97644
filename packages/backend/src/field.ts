import {
  ConversionError,
  convertBool,
  convertCommaIntList,
  convertCommaStringList,
  convertDuration,
  convertInt,
  convertList,
  convertMap,
  convertSignedDuration,
  convertString,
  convertStringMap,
} from './field-conversion.ts'
import { BackendError } from './types.ts'

/** How one request parameter is read from the body or query. Made by `field.*`. */
export interface Field<T> {
  readonly type: string
  readonly description: string
  /** Value when the request does not carry the field. */
  readonly fallback: T
  readonly required: boolean
  /** @throws ConversionError. `undefined` means: as if absent. */
  readonly convert: (raw: unknown) => unknown
}

export type Fields = Readonly<Record<string, Field<unknown>>>

/** The parsed values; `undefined` where a field without default was not sent. */
export type FieldValues<F extends Fields> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never }

export interface FieldOptions {
  description?: string
}

interface FieldBuilder<T> {
  /** With a default, or required (400 `missing <name>` on every operation of the path), the value is always there. */
  (options: FieldOptions & ({ default: T } | { required: true })): Field<T>
  (options?: FieldOptions): Field<T | undefined>
}

function builder<T>(type: string, convert: (raw: unknown) => T | undefined): FieldBuilder<T> {
  return (options: FieldOptions & { default?: T; required?: boolean } = {}) => ({
    type,
    description: options.description ?? '',
    fallback: options.default as T,
    required: options.required ?? false,
    convert,
  })
}

/** Parameter types, with the conversions Vault's clients rely on (numbers as strings, lists as comma text, and so on). */
export const field = {
  string: builder('string', convertString),
  int: builder('int', convertInt),
  bool: builder('bool', convertBool),
  /** Non-negative whole seconds from an integer, "90", "30s", "1h30m", "1d". */
  duration: builder('duration (sec)', convertDuration),
  /** Like `duration`, negative allowed. */
  signedDuration: builder('duration (sec)', convertSignedDuration),
  /** An array, or text split at commas; entries are trimmed. */
  commaStringList: builder('slice', convertCommaStringList),
  /** An array of integers, or text split at commas. */
  commaIntList: builder('slice', convertCommaIntList),
  /** An object of strings, or "k=v" texts. */
  stringMap: builder('keypair', convertStringMap),
  /** Any JSON object, untouched. */
  map: builder('map', convertMap),
  /** Any JSON array, untouched; a single value becomes an array of one. */
  list: builder('slice', convertList),
}

/** A function that reads `fields` out of a request's data; unknown keys are ignored. */
export function fieldReader(fields: Fields): (data: Readonly<Record<string, unknown>>) => Record<string, unknown> {
  const entries = Object.entries(fields)
  const absent: Record<string, unknown> = {}
  for (const [name, definition] of entries) absent[name] = definition.fallback
  return (data) => {
    const values = { ...absent }
    for (const [name, definition] of entries) {
      const raw = Object.hasOwn(data, name) ? data[name] : undefined
      const value = raw === undefined ? undefined : converted(name, definition, raw)
      if (value !== undefined) values[name] = value
      else if (definition.required) throw new BackendError('BACKEND_INVALID_REQUEST', `missing ${name}`)
    }
    return values
  }
}

function converted(name: string, definition: Field<unknown>, raw: unknown): unknown {
  try {
    return definition.convert(raw)
  } catch (error) {
    if (!(error instanceof ConversionError)) throw error
    const message = `Field validation failed: error converting input for field ${JSON.stringify(name)}: ${error.message}`
    throw new BackendError('BACKEND_INVALID_REQUEST', message)
  }
}
