/** Rows of text in columns: the first left-aligned, the others right-aligned. */
export function table(heads, rows) {
  const cells = [heads, ...rows.map((row) => row.map(String))]
  const widths = heads.map((_, column) => Math.max(...cells.map((row) => row[column].length)))
  return cells
    .map((row) =>
      row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join('  '),
    )
    .join('\n')
}

export const whole = (number) => Math.round(number).toLocaleString('en')
export const milliseconds = (number) => number.toFixed(number < 10 ? 2 : 1)
