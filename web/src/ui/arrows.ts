/** The next element in a direction: the nearest one that lies that way, sideways distance counting double. */
export function nearest(from: DOMRect, candidates: readonly DOMRect[], direction: string): number {
  const middle = (rect: DOMRect): [number, number] => [rect.left + rect.width / 2, rect.top + rect.height / 2];
  const [x, y] = middle(from);
  let found = -1;
  let least = Number.POSITIVE_INFINITY;
  candidates.forEach((rect, index) => {
    const [cx, cy] = middle(rect);
    const [dx, dy] = [cx - x, cy - y];
    const [ahead, aside] = direction === 'ArrowLeft' ? [-dx, dy] : direction === 'ArrowRight' ? [dx, dy] : direction === 'ArrowUp' ? [-dy, dx] : [dy, dx];
    if (ahead <= 1) return;
    const cost = ahead + 2 * Math.abs(aside);
    if (cost < least) {
      least = cost;
      found = index;
    }
  });
  return found;
}

/** A remote control is a keyboard with four arrows and Enter: the arrows move the focus over what can be pressed. */
export function walkWithArrows(): void {
  document.addEventListener('keydown', (event) => {
    if (!event.key.startsWith('Arrow')) return;
    // In a text the arrows move the cursor; up and down leave it.
    if (event.target instanceof HTMLInputElement && (event.key === 'ArrowLeft' || event.key === 'ArrowRight')) return;
    if (event.target instanceof HTMLSelectElement) return;
    const targets = [...document.querySelectorAll<HTMLElement>('button:not(:disabled), a[href], input:not(:disabled)')].filter((element) => element.offsetParent !== null);
    const current = document.activeElement instanceof HTMLElement ? targets.indexOf(document.activeElement) : -1;
    event.preventDefault();
    const from = targets[current];
    if (from === undefined) {
      targets[0]?.focus();
      return;
    }
    const rects = targets.map((element) => element.getBoundingClientRect());
    targets[nearest(from.getBoundingClientRect(), rects, event.key)]?.focus();
  });
}
