export { PathsFilterError, type PathsFilterErrorCode } from './errors.ts'
export { CORE_MOUNTS } from './filter-path.ts'
export { type FilterMode, type PathsFilter, type PathsFilterSettings, pathsFilter } from './paths-filter.ts'
