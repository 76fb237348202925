export interface Grid {
  columns: number;
  rows: number;
  /** Size of one 16:9 tile in CSS pixels. */
  width: number;
  height: number;
}

const aspect = 16 / 9;

/** The arrangement of equal 16:9 tiles that makes them largest in the given box. */
export function gridOf(count: number, width: number, height: number, gap: number): Grid {
  let best: Grid = { columns: 1, rows: Math.max(1, count), width: 0, height: 0 };
  for (let columns = 1; columns <= Math.max(1, count); columns++) {
    const rows = Math.ceil(Math.max(1, count) / columns);
    const wide = Math.min((width - gap * (columns - 1)) / columns, ((height - gap * (rows - 1)) / rows) * aspect);
    if (wide > best.width + 0.5) best = { columns, rows, width: Math.floor(wide), height: Math.floor(wide / aspect) };
  }
  return best;
}
