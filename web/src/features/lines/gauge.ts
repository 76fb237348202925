import type { Line, LineClass, LineDirection } from '../../api/types';

export type GaugeKind = LineClass | 'office' | 'free';

/** The order in which a line is stacked, most important first. */
export const classOrder: readonly LineClass[] = ['emergency', 'priority', 'voice', 'conference_audio', 'content', 'video', 'bulk'];
export const gaugeKinds: readonly GaugeKind[] = [...classOrder, 'office', 'free'];

/** A part of the gauge. Widths are shares of the whole gauge; `solid` is the measured share of this part's own width. */
export interface GaugePart {
  kind: GaugeKind;
  width: number;
  solid: number;
  reservedBps: number;
  measuredBps: number;
}

/**
 * Stacks one direction of a line. A part is as wide as the larger of what is reserved and what is measured; the office reserve and
 * what is free come last. A line that carries more than its capacity is drawn full, every part shrunk alike.
 */
export function gaugeParts(direction: LineDirection): GaugePart[] {
  const uses = new Map((direction.classes ?? []).map((use) => [use.class, use]));
  const parts: GaugePart[] = [];
  let used = 0;
  const add = (kind: GaugeKind, reservedBps: number, measuredBps: number): void => {
    const size = Math.max(reservedBps, measuredBps);
    if (size <= 0) return;
    used += size;
    parts.push({ kind, width: size, solid: measuredBps / size, reservedBps, measuredBps });
  };
  for (const name of classOrder) {
    const use = uses.get(name);
    if (use !== undefined) add(name, use.reserved_bps, use.measured_bps);
  }
  add('office', direction.office_reserve_bps, 0);
  const whole = Math.max(direction.capacity_bps, used);
  const free = whole - used;
  if (free > 0) parts.push({ kind: 'free', width: free, solid: 0, reservedBps: 0, measuredBps: 0 });
  return whole <= 0 ? [] : parts.map((part) => ({ ...part, width: part.width / whole }));
}

/** What of ours is on the line: per class the larger of reserved and measured. */
export function usedBps(direction: LineDirection): number {
  return (direction.classes ?? []).reduce((total, use) => total + Math.max(use.reserved_bps, use.measured_bps), 0);
}

export type LineWord = 'good' | 'tight' | 'congested' | 'none';

function directionWord(direction: LineDirection): LineWord {
  const ours = direction.capacity_bps - direction.office_reserve_bps;
  if (ours <= 0) return 'none';
  // Video takes what is left by design: it makes a line tight, never congested. What must not wait decides about the rest.
  const firm = (direction.classes ?? [])
    .filter((use) => use.class !== 'video' && use.class !== 'bulk')
    .reduce((total, use) => total + Math.max(use.reserved_bps, use.measured_bps), 0);
  if (firm >= 0.85 * ours) return 'congested';
  return usedBps(direction) >= 0.9 * ours || firm >= 0.6 * ours ? 'tight' : 'good';
}

/** The state of a line in one word: that of its worse direction. */
export function lineWord(line: Pick<Line, 'up' | 'down'>): LineWord {
  const order: readonly LineWord[] = ['none', 'good', 'tight', 'congested'];
  const words = [directionWord(line.up), directionWord(line.down)];
  return order[Math.max(...words.map((word) => order.indexOf(word)))] ?? 'none';
}
