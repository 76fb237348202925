import type { JSX } from 'preact';
import type { LineDirection } from '../../api/types';
import { formatRate, texts } from '../../i18n';
import type { Tone } from '../../ui/badge';
import { gaugeKinds, gaugeParts, type LineWord, usedBps } from './gauge';

export const lineTones: Record<LineWord, Tone> = { good: 'fine', tight: 'warning', congested: 'failure', none: 'muted' };

/** One direction of a line as a bar. `fromEnd` fills it from the right: what a branch sends starts at the branch. */
export function Gauge({ name, side, direction, fromEnd = false, thin = false }: {
  name: string; side: 'up' | 'down'; direction: LineDirection; fromEnd?: boolean; thin?: boolean;
}): JSX.Element {
  const t = texts.value.line;
  const label = t.gauge(name, t[side], formatRate(usedBps(direction)), formatRate(direction.capacity_bps));
  return (
    <div class={`gauge${fromEnd ? ' fill-from-end' : ''}${thin ? ' thin' : ''}`} role="img" aria-label={label} data-direction={side}>
      {gaugeParts(direction).map((part) => (
        <div
          class={`gauge-part class-${part.kind}`} key={part.kind} data-class={part.kind} style={{ width: `${(part.width * 100).toFixed(2)}%` }}
          title={part.kind === 'free' || part.kind === 'office'
            ? t.classes[part.kind]
            : `${t.classes[part.kind]}: ${t.reserved} ${formatRate(part.reservedBps)}, ${t.measured} ${formatRate(part.measuredBps)}`}
        >
          {part.solid > 0 && <div class="gauge-solid" style={{ width: `${(part.solid * 100).toFixed(2)}%` }} />}
        </div>
      ))}
    </div>
  );
}

/** The classes with their colours and patterns, in stacking order. */
export function Legend(): JSX.Element {
  const t = texts.value.line;
  return (
    <ul class="legend" aria-label={t.legend}>
      {gaugeKinds.map((kind) => (
        <li key={kind}>
          <span class={`swatch class-${kind}`} />
          {t.classes[kind]}
        </li>
      ))}
    </ul>
  );
}
