import { type Fields, type FieldValues, fieldReader } from './field.ts'
import type { BackendRequest, BackendResponse, Operation } from './types.ts'

type ParamName<Segment extends string> = Segment extends `:${infer Name}*`
  ? Name
  : Segment extends `:${infer Name}`
    ? Name
    : never

type ParamNames<Pattern extends string> = Pattern extends `${infer Segment}/${infer Rest}`
  ? ParamName<Segment> | ParamNames<Rest>
  : ParamName<Pattern>

/** `PathParams<'role/:name'>` is `{ name: string }`. */
export type PathParams<Pattern extends string> = string extends Pattern
  ? Readonly<Record<string, string>>
  : { readonly [Name in ParamNames<Pattern>]: string }

export type NoFields = Readonly<Record<never, never>>

export type PathRequest<Pattern extends string = string, F extends Fields = NoFields> = BackendRequest & {
  /** What the pattern's `:name` parts matched. */
  params: PathParams<Pattern>
  /** The declared fields, converted. */
  field: FieldValues<F>
}

type Answer = BackendResponse | undefined

export type PathHandler<Pattern extends string = string, F extends Fields = NoFields> = (
  request: PathRequest<Pattern, F>,
) => Promise<Answer> | Answer

export interface PathDefinition<Pattern extends string, F extends Fields> {
  /** Parameters the operations read; others in the request are ignored (and still in `request.data`). */
  fields?: F
  /** `create` without a handler of its own goes to `update`. `help` is answered from `help`. */
  operations: { readonly [O in Exclude<Operation, 'help'>]?: PathHandler<Pattern, F> }
  /** Decides between `create` and `update` for access control. Default: always `update`. */
  exists?: (request: PathRequest<Pattern, F>) => Promise<boolean> | boolean
  help?: string
}

/** A declared path, types erased. */
export interface Path {
  readonly pattern: string
  readonly fields: Fields
  readonly readFields: (data: Readonly<Record<string, unknown>>) => Record<string, unknown>
  readonly operations: Readonly<Partial<Record<Operation, ErasedHandler>>>
  readonly exists: ((request: ErasedRequest) => Promise<boolean> | boolean) | undefined
  readonly help: string
}

export type ErasedRequest = BackendRequest & { params: Record<string, string>; field: Record<string, unknown> }
export type ErasedHandler = (request: ErasedRequest) => Promise<Answer> | Answer

/**
 * Declares what a backend answers at a path.
 *
 * Pattern: literal segments; `:name` is one segment; a last `:name*` is the rest of the path, at least one character, slashes
 * included; "" is the mount itself. A `list` matches without its trailing slash: `users` answers LIST of `users/`.
 */
export function path<const Pattern extends string, F extends Fields = NoFields>(
  pattern: Pattern,
  definition: PathDefinition<Pattern, F>,
): Path {
  const operations = definition.operations as unknown as Path['operations']
  const fields = definition.fields ?? {}
  return {
    pattern,
    fields,
    readFields: fieldReader(fields),
    operations: { ...operations, create: operations.create ?? operations.update },
    exists: definition.exists as unknown as Path['exists'],
    help: definition.help ?? '',
  }
}
