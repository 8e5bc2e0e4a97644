/** A configuration that cannot be used. The message names the file, the key and what was expected; never a value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}
