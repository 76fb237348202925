import type { Alarm, SiteStatus } from '../../api/types';
import { formatMoment, texts } from '../../i18n';
import type { AlarmWords } from '../../i18n/alarm';

type Worded = Exclude<keyof (typeof texts)['value']['alarm'], 'severity' | 'generic'>;

/** Where the admin looks next. */
const places: Record<Worded, string> = {
  line_full: '/lines', line_slow: '/lines', line_lossy: '/lines', line_down: '/lines', line_out_of_service: '/lines', trunk_down: '/', gateway_down: '/', toll_limit: '/calls', site_down: '/terminals', terminals_unregistered: '/terminals', venue_absent: '/rooms',
  quality_low: '/calls', certificate_expiring: '/', reload_failed: '/', disk_full: '/', recording_stopped: '/records', unknown_phones: '/terminals', provisioning_sweep: '/terminals',
};

const worded = (code: string): code is Worded => Object.hasOwn(places, code);

/** An alarm in words: what happened and to whom, what to do, and the page that shows it. */
export function explain(alarm: Alarm, sites: readonly SiteStatus[]): { what: string; act: string; place: string } {
  const t = texts.value;
  const site = sites.find((candidate) => candidate.id === alarm.site)?.name ?? alarm.site ?? '';
  if (!worded(alarm.code)) return { ...t.alarm.generic(alarm.code, site), place: '/' };
  const detail = (name: string): string => String(alarm.detail?.[name] ?? '');
  const direction = detail('direction');
  const until = Date.parse(detail('not_after') || detail('until'));
  const words: AlarmWords = {
    site,
    direction: direction === 'up' || direction === 'down' ? t.line[direction] : '',
    count: detail('count') || detail('missing') || detail('unregistered'),
    name: detail('gateway') === '' ? detail('trunk') || detail('name') : `${detail('trunk')}/${detail('gateway')}`,
    until: Number.isFinite(until) ? formatMoment(new Date(until)) : '',
  };
  return { ...t.alarm[alarm.code](words), place: places[alarm.code] };
}
