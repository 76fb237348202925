/** Where things lie on the star map, in CSS pixels of its box. */
export interface Spoke {
  /** Middle of the branch's card. */
  x: number;
  y: number;
  /** The gauge lies along the spoke: its middle, its length, its angle in degrees; the left end is headquarters. */
  gaugeX: number;
  gaugeY: number;
  length: number;
  angle: number;
}

export interface StarSize {
  width: number;
  height: number;
  cardWidth: number;
  cardHeight: number;
  hub: number;
  gap: number;
}

/** Distance from a card's middle to its edge, in the direction (cos, sin). */
function reach(halfWidth: number, halfHeight: number, cos: number, sin: number): number {
  return Math.min(halfWidth / Math.max(Math.abs(cos), 1e-9), halfHeight / Math.max(Math.abs(sin), 1e-9));
}

/** Spreads branches around headquarters on an ellipse that uses the whole box, the first one on top. */
export function star(count: number, size: StarSize): Spoke[] {
  const cx = size.width / 2;
  const cy = size.height / 2;
  const rx = Math.max(0, cx - size.cardWidth / 2);
  const ry = Math.max(0, cy - size.cardHeight / 2);
  return Array.from({ length: count }, (_, index) => {
    const turn = -Math.PI / 2 + (2 * Math.PI * index) / count;
    const x = rx * Math.cos(turn);
    const y = ry * Math.sin(turn);
    const distance = Math.hypot(x, y);
    const cos = distance === 0 ? 0 : x / distance;
    const sin = distance === 0 ? 0 : y / distance;
    const from = size.hub + size.gap;
    const to = distance - reach(size.cardWidth / 2, size.cardHeight / 2, cos, sin) - size.gap;
    const middle = (from + to) / 2;
    return {
      x: cx + x,
      y: cy + y,
      gaugeX: cx + cos * middle,
      gaugeY: cy + sin * middle,
      length: Math.max(0, to - from),
      angle: (Math.atan2(sin, cos) * 180) / Math.PI,
    };
  });
}
