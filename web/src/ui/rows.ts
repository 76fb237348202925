/** The rows of a long table that need to exist: those in view and a few around them. */
export interface Window {
  first: number;
  last: number;
  before: number;
  after: number;
}

export function windowOf(count: number, rowHeight: number, scrollTop: number, viewHeight: number, spare = 8): Window {
  const first = Math.max(0, Math.min(count, Math.floor(scrollTop / rowHeight) - spare));
  const last = Math.max(first, Math.min(count, Math.ceil((scrollTop + viewHeight) / rowHeight) + spare));
  return { first, last, before: first * rowHeight, after: (count - last) * rowHeight };
}
