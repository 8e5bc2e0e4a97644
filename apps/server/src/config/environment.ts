export type Environment = Readonly<Record<string, string | undefined>>

/** `BAO_<name>`, else `VAULT_<name>`; an empty text counts as unset. */
export function environmentValue(environment: Environment, name: string): string | undefined {
  return environment[`BAO_${name}`] || environment[`VAULT_${name}`] || undefined
}
