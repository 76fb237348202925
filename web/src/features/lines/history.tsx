import type { JSX } from 'preact';
import { texts } from '../../i18n';
import { sparkPath } from '../../ui/spark';

export interface HistorySample {
  at: number;
  reserved: number;
  measured: number;
}

const width = 600;
const height = 56;

/** The last minutes of one direction: what was used or reserved as an area, what was measured as a line, capacity is the top edge. */
export function History({ capacity, samples }: { capacity: number; samples: readonly HistorySample[] }): JSX.Element {
  const t = texts.value.line;
  const reserved = sparkPath(samples.map((sample) => sample.reserved), width, height, 0, capacity);
  const measured = sparkPath(samples.map((sample) => sample.measured), width, height, 0, capacity);
  return (
    <figure class="history">
      <svg viewBox={`0 0 ${String(width)} ${String(height)}`} preserveAspectRatio="none" role="img" aria-label={t.history}>
        {reserved !== '' && <path class="history-reserved" d={`${reserved}L${String(width)} ${String(height)}L0 ${String(height)}Z`} />}
        {measured !== '' && <path class="history-measured" d={measured} vector-effect="non-scaling-stroke" />}
      </svg>
      <figcaption class="muted small">{reserved === '' ? t.historyWait : t.history}</figcaption>
    </figure>
  );
}
