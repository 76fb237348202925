import type { JSX } from 'preact';
import { callQuality } from '../../console/history';
import { formatDecimal, texts } from '../../i18n';
import type { Tone } from '../../ui/badge';
import { Spark } from '../../ui/spark';

export type MosWord = 'good' | 'fair' | 'bad' | 'unknown';

/** ITU-T G.107 Annex B: 4.0 and up = satisfied, 3.6 and up = some users dissatisfied. Judged as it is shown, with one decimal. */
export function mosWord(mos: number | null): MosWord {
  if (mos === null || mos <= 0) return 'unknown';
  const shown = Math.round(mos * 10) / 10;
  if (shown >= 4) return 'good';
  return shown >= 3.6 ? 'fair' : 'bad';
}

const tones: Record<MosWord, Tone> = { good: 'fine', fair: 'warning', bad: 'failure', unknown: 'muted' };

/** The mean opinion score as number, word and line over time. */
export function Quality({ id, mos, spark = true }: { id: string; mos: number | null; spark?: boolean }): JSX.Element {
  const t = texts.value.calls;
  const word = mosWord(mos);
  const samples = callQuality.value.get(id) ?? [];
  return (
    <span class={`quality tone-${tones[word]}`} data-testid="call-quality" data-mos={mos ?? ''}>
      {spark && samples.length > 1 && <Spark values={samples} low={1} high={4.6} label={t.history} />}
      <span>{mos !== null && word !== 'unknown' ? `${formatDecimal(mos)} ${t.mosWords[word]}` : t.mosWords.unknown}</span>
    </span>
  );
}
