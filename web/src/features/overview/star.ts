/** Where a branch and its line lie on the star map, in CSS pixels of its box. */
export interface Spoke {
  /** Middle of the branch's card. */
  x: number;
  y: number;
  /** The gauge lies along the spoke: its middle, its length, its angle in degrees; the left end is headquarters. */
  gaugeX: number;
  gaugeY: number;
  length: number;
  angle: number;
  /** From the middle of headquarters to the middle of the card. */
  distance: number;
}

export interface Star {
  hubX: number;
  hubY: number;
  spokes: Spoke[];
}

export interface StarSize {
  width: number;
  height: number;
  cardWidth: number;
  cardHeight: number;
  /** Radius of headquarters. */
  hub: number;
  gap: number;
  /** Half the thickness of a spoke's two gauges, so that their corners stay off the cards. */
  thickness: number;
  /** A spoke shorter than this is too short to read. */
  readable: number;
}

interface Point {
  x: number;
  y: number;
}

/**
 * Headquarters in the middle, the branches around it, the first one on top. A box too low for that has them in two columns, where
 * every spoke has the width of the box. All gauges have one length, so that they can be compared.
 */
export function star(count: number, size: StarSize): Star {
  const round = arrange(around(count), size);
  if (shortest(round) >= size.readable) return level(round, shortest(round));
  const sides = arrange(columns(count), size);
  const best = shortest(sides) > shortest(round) ? sides : round;
  return level(best, Math.max(shortest(best), size.readable));
}

const shortest = (map: Star): number => Math.min(...map.spokes.map((spoke) => spoke.length));

const level = (map: Star, length: number): Star => ({ ...map, spokes: map.spokes.map((spoke) => ({ ...spoke, length: Math.min(spoke.length, length) })) });

function around(count: number): Point[] {
  return Array.from({ length: count }, (_, index) => {
    const turn = -Math.PI / 2 + (2 * Math.PI * index) / count;
    return { x: Math.cos(turn), y: Math.sin(turn) };
  });
}

/** Clockwise from the top: the right column downwards, then the left one upwards. */
function columns(count: number): Point[] {
  const right = Math.ceil(count / 2);
  const left = count - right;
  const spread = (index: number, of: number): number => (of === 1 ? 0 : -1 + (2 * index) / (of - 1));
  return Array.from({ length: count }, (_, index) => (index < right ? { x: 1, y: spread(index, right) } : { x: -1, y: -spread(index - right, left) }));
}

/** Distance from a card's middle to its edge, in the direction (cos, sin). */
function reach(halfWidth: number, halfHeight: number, cos: number, sin: number): number {
  return Math.min(halfWidth / Math.max(Math.abs(cos), 1e-9), halfHeight / Math.max(Math.abs(sin), 1e-9));
}

/** Stretches unit points so that the cards fill the box, and lays the gauges between hub and cards. */
function arrange(points: readonly Point[], size: StarSize): Star {
  const extent = (values: number[], room: number): [number, number] => {
    const low = Math.min(0, ...values);
    const high = Math.max(0, ...values);
    const scale = high - low > 0 ? Math.max(0, room) / (high - low) : 0;
    return [scale, -low * scale];
  };
  const [scaleX, offsetX] = extent(points.map((point) => point.x), size.width - size.cardWidth);
  const [scaleY, offsetY] = extent(points.map((point) => point.y), size.height - size.cardHeight);
  const hubX = size.cardWidth / 2 + offsetX;
  const hubY = size.cardHeight / 2 + offsetY;
  return {
    hubX,
    hubY,
    spokes: points.map((point) => {
      const x = point.x * scaleX;
      const y = point.y * scaleY;
      const distance = Math.hypot(x, y);
      const cos = distance === 0 ? 0 : x / distance;
      const sin = distance === 0 ? 0 : y / distance;
      const from = size.hub + size.gap;
      const to = distance - reach(size.cardWidth / 2 + size.thickness, size.cardHeight / 2 + size.thickness, cos, sin) - size.gap;
      const middle = (from + to) / 2;
      return { x: hubX + x, y: hubY + y, gaugeX: hubX + cos * middle, gaugeY: hubY + sin * middle, length: Math.max(0, to - from), angle: (Math.atan2(sin, cos) * 180) / Math.PI, distance };
    }),
  };
}
