import type { JSX } from 'preact';

/** The path of a spark line through values between `low` and `high`, newest at the right; empty for fewer than two values. */
export function sparkPath(values: readonly number[], width: number, height: number, low: number, high: number): string {
  if (values.length < 2) return '';
  const step = width / (values.length - 1);
  return values
    .map((value, index) => {
      const share = Math.min(1, Math.max(0, (value - low) / (high - low)));
      return `${index === 0 ? 'M' : 'L'}${(index * step).toFixed(1)} ${((1 - share) * height).toFixed(1)}`;
    })
    .join('');
}

export function Spark({ values, low, high, label, width = 72, height = 20 }: {
  values: readonly number[]; low: number; high: number; label: string; width?: number; height?: number;
}): JSX.Element {
  const newest = values[values.length - 1];
  const y = newest === undefined ? height : (1 - Math.min(1, Math.max(0, (newest - low) / (high - low)))) * height;
  return (
    <svg class="spark" width={width} height={height} viewBox={`0 0 ${String(width)} ${String(height)}`} role="img" aria-label={label}>
      <path d={sparkPath(values, width - 3, height, low, high)} />
      {newest !== undefined && <circle cx={width - 3} cy={y} r="2.5" />}
    </svg>
  );
}
