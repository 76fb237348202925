import type { JSX } from 'preact';
import { texts } from '../../i18n';
import { Badge, type Tone } from '../../ui/badge';

export type Result = 'answered' | 'no_answer' | 'busy' | 'cancelled' | 'refused' | 'failed';

export const results: readonly Result[] = ['answered', 'no_answer', 'busy', 'cancelled', 'refused', 'failed'];

const tones: Record<Result, Tone> = { answered: 'fine', no_answer: 'muted', busy: 'muted', cancelled: 'muted', refused: 'warning', failed: 'failure' };

export function ResultBadge({ result }: { result: string }): JSX.Element {
  const known = results.find((one) => one === result);
  return known === undefined ? <Badge tone="muted">{result}</Badge> : <Badge tone={tones[known]}>{texts.value.records.results[known]}</Badge>;
}
