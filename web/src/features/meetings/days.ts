import type { ScheduledMeeting } from '../../api/types';
import { language, texts } from '../../i18n';
import { parse } from './calendar';

export const clockIn = (zone: string, at: Date): string => new Intl.DateTimeFormat(language.value, { timeZone: zone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(at);

export const momentIn = (zone: string, at: Date): string =>
  new Intl.DateTimeFormat(language.value, { timeZone: zone, month: 'short', day: 'numeric', weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(at);

/** 12月1日, 1 Dec. */
export const dayText = (day: string): string => new Intl.DateTimeFormat(language.value, { timeZone: 'UTC', month: 'short', day: 'numeric' }).format(new Date(parse(day)));

/** When a plan takes place, in words. */
export function whenText(plan: ScheduledMeeting): string {
  const t = texts.value.planned;
  if (plan.weekdays.length === 0) return `${plan.date} ${plan.time}`;
  const days = plan.weekdays.map((n) => t.weekdays[n - 1] ?? '').join(language.value === 'en' ? ', ' : '、');
  return `${t.weekly(days)} ${plan.time}${plan.until === '' ? '' : ` ${t.until(plan.until)}`}`;
}
