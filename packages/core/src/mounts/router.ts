/** Longest-prefix routing over mount points. A point is one or more segments with a trailing slash: `secret/`, `auth/userpass/`. */
export interface Router<T> {
  /** The value at the longest point that `path` starts with; `foo` also finds the point `foo/`. */
  match(path: string): T | undefined
  /** The value at exactly `point`. */
  get(point: string): T | undefined
  /** A point that is `point`, lies above it or lies below it. */
  conflict(point: string): string | undefined
  set(point: string, value: T): void
  delete(point: string): void
}

export function router<T>(): Router<T> {
  const points = new Map<string, T>()
  // Every proper ancestor of a point, with the points below it, so that a conflict is found without a walk over all.
  const below = new Map<string, Set<string>>()
  const pointsOfDepth: number[] = []
  let deepest = 0

  return {
    match(path) {
      let best: T | undefined
      let depth = 0
      for (let slash = path.indexOf('/'); slash !== -1 && depth < deepest; slash = path.indexOf('/', slash + 1)) {
        depth++
        best = points.get(slash + 1 === path.length ? path : path.slice(0, slash + 1)) ?? best
      }
      return best ?? (path.endsWith('/') ? undefined : points.get(`${path}/`))
    },
    get: (point) => points.get(point),
    conflict(point) {
      if (points.has(point)) return point
      for (const ancestor of ancestors(point)) if (points.has(ancestor)) return ancestor
      const deeper = below.get(point)
      return deeper === undefined ? undefined : [...deeper].sort()[0]
    },
    set(point, value) {
      if (!points.has(point)) {
        const depth = depthOf(point)
        pointsOfDepth[depth] = (pointsOfDepth[depth] ?? 0) + 1
        deepest = Math.max(deepest, depth)
        for (const ancestor of ancestors(point)) {
          const set = below.get(ancestor)
          if (set === undefined) below.set(ancestor, new Set([point]))
          else set.add(point)
        }
      }
      points.set(point, value)
    },
    delete(point) {
      if (!points.delete(point)) return
      pointsOfDepth[depthOf(point)]!--
      while (deepest > 0 && !pointsOfDepth[deepest]) deepest--
      for (const ancestor of ancestors(point)) {
        const set = below.get(ancestor)!
        set.delete(point)
        if (set.size === 0) below.delete(ancestor)
      }
    },
  }
}

function ancestors(point: string): string[] {
  const found: string[] = []
  for (
    let slash = point.indexOf('/');
    slash !== -1 && slash + 1 < point.length;
    slash = point.indexOf('/', slash + 1)
  ) {
    found.push(point.slice(0, slash + 1))
  }
  return found
}

function depthOf(point: string): number {
  return ancestors(point).length + 1
}
