import type { JSX } from 'preact';
import type { Occurrence } from '../../api/types';
import { texts } from '../../i18n';
import { now } from '../../ui/clock';
import { Icon } from '../../ui/icon';
import { dayIn, weekday, weekOf } from './calendar';
import { clockIn, dayText } from './days';
import { chosen, monday, shown, zone } from './state';

/** A week, a column a day; on narrow screens one day below the other. */
export function Week(): JSX.Element {
  const t = texts.value.planned;
  const today = dayIn(zone.value, new Date(now.value));
  return (
    <div class="week">
      <ol class="week-days" data-testid="meetings-week">
        {weekOf(monday.value).map((day) => {
          const list = shown.value.filter((one) => one.date === day);
          return (
            <li key={day} class={`week-day${day === today ? ' today' : ''}${weekday(day) > 5 ? ' weekend' : ''}`} aria-current={day === today ? 'date' : undefined}>
              <h2><span>{t.weekdays[weekday(day) - 1]}</span> <small>{dayText(day)}</small></h2>
              {list.length === 0 && <p class="muted small week-none">{t.none}</p>}
              {list.map((one) => <Card key={`${one.meeting}${one.date}`} one={one} />)}
            </li>
          );
        })}
      </ol>
      <p class="muted small">{t.clocks(zone.value)}</p>
    </div>
  );
}

function Card({ one }: { one: Occurrence }): JSX.Element {
  const [from, to] = [Date.parse(one.starts_at), Date.parse(one.ends_at)];
  const state = now.value >= to ? 'over' : now.value >= from ? 'running' : 'coming';
  return (
    <button type="button" class={`meeting-card ${state}`} onClick={() => { chosen.value = { id: one.meeting, date: one.date }; }} data-testid="meeting-card" data-id={one.meeting} data-date={one.date} data-state={state}>
      <span class="meeting-time">
        {clockIn(zone.value, new Date(from))} – {clockIn(zone.value, new Date(to))}
        {one.weekly && <Icon name="poll" />}
        {state === 'running' && <Icon name="air" />}
      </span>
      <strong>{one.title}</strong>
      <small>{one.room}</small>
    </button>
  );
}
