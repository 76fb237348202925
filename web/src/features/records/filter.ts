import type { Cdr } from '../../api/types';
import type { Result } from './result';

export interface RecordFilter {
  text: string;
  result: Result | '';
}

/** Every word has to occur in a number, a site's name, a trunk or the reason. */
export function filterRecords(records: readonly Cdr[], filter: RecordFilter, siteName: (id: string) => string): Cdr[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter((word) => word !== '');
  return records.filter((r) => {
    if (filter.result !== '' && r.result !== filter.result) return false;
    if (words.length === 0) return true;
    const all = [r.from, r.to, r.dialled, siteName(r.from_site), siteName(r.to_site), r.trunk, r.reason, r.id, r.call_id].join(' ').toLowerCase();
    return words.every((word) => all.includes(word));
  });
}
