/** How many symbols to ask for. */

/**
 * Enough for about three in four sketches of as many items as are expected, give or take what chance adds to the number of items and of
 * symbols they need.
 */
export function symbolsFor(items: number): number {
  return Math.ceil(1.38 * items + 2.2 * Math.sqrt(items) + 2)
}

/** The total to go on to when `had` symbols were too few, and the difference is thought to have `items`. */
export function moreSymbols(had: number, items: number): number {
  const needed = Math.ceil(1.45 * items) + 2
  const step = Math.ceil(had * 1.2) + 3
  // The number of items is known to a fifth or so: that close, a small step is more likely to be right.
  return needed > step * 1.3 ? needed : step
}
