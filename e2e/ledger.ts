export { type Acknowledged, type Load, longestPause, missingOn, startLoad, type Target } from '@lockstep/dev-env'
