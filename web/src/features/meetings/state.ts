import { computed, signal } from '@preact/signals';
import { occurrences as fetchOccurrences, scheduled } from '../../api/http';
import type { Occurrence, ScheduledMeeting } from '../../api/types';
import { user } from '../../console/session';
import { addDays, dayIn, mondayOf } from './calendar';

export type View = 'week' | 'list' | 'held';

export const view = signal<View>('week');
export const plans = signal<ScheduledMeeting[] | null>(null);
export const zone = signal('Asia/Shanghai');
/** What is on in the week that is shown. */
export const shown = signal<Occurrence[]>([]);
export const failed = signal(false);
export const monday = signal(mondayOf(dayIn('Asia/Shanghai', new Date())));
/** The plan whose details are open, and the day of it that was chosen. */
export const chosen = signal<{ id: string; date: string } | null>(null);
/** The plan that is being written: '' is a new one. */
export const editing = signal<string | null>(null);
export const subscribing = signal(false);

/** Who may plan; the appliance judges again. */
export const mayPlan = computed(() => user.value !== null && ['admin', 'operator', 'chair'].includes(user.value.role));

const aDay = 86_400_000;

export async function refresh(): Promise<void> {
  try {
    const from = new Date(Date.parse(`${monday.value}T00:00:00Z`) - aDay);
    const [list, week] = await Promise.all([scheduled(), fetchOccurrences(from, new Date(from.getTime() + 9 * aDay))]);
    zone.value = week.time_zone;
    shown.value = week.occurrences.filter((one) => one.date >= monday.value && one.date < addDays(monday.value, 7));
    plans.value = list;
    failed.value = false;
  } catch {
    failed.value = true;
  }
}

export function move(weeks: number): void {
  monday.value = weeks === 0 ? mondayOf(dayIn(zone.value, new Date())) : addDays(monday.value, weeks * 7);
  void refresh();
}
