import type { JSX } from 'preact';
import { formatClockSeconds, nameOf, texts } from '../../i18n';
import type { Roll } from '../../rtc/protocol';
import { now } from '../../ui/clock';
import { Icon } from '../../ui/icon';

export const secondsLeft = (until: string): number => Math.max(0, Math.ceil((Date.parse(until) - now.value) / 1000));

/** The sheet of a roll call: who answered, who is silent, who is absent. */
export function RollSheet({ roll }: { roll: Roll }): JSX.Element {
  const t = texts.value.meeting;
  return (
    <section class="roll" data-testid="roll" data-open={roll.closed_at === null}>
      <h3>
        {roll.closed_at === null ? t.roll : t.rollResult}
        <span>{t.rollSheet(roll.entries.filter((entry) => entry.answered_at !== null).length, roll.entries.length)}</span>
        {roll.closed_at === null && <span class="muted">{t.rollLeft(secondsLeft(roll.until))}</span>}
      </h3>
      <ul>
        {roll.entries.map((entry) => {
          const state = entry.answered_at !== null ? 'answered' : entry.present ? 'silent' : 'absent';
          return (
            <li key={entry.member} class={state} data-testid="roll-entry" data-member={entry.member} data-answer={state}>
              <Icon name={state === 'answered' ? 'check' : state === 'silent' ? 'dashed' : 'cross'} />
              <strong>{nameOf(entry.name)}</strong>
              <span>{entry.answered_at !== null ? formatClockSeconds(new Date(entry.answered_at)) : state === 'silent' ? t.rollSilent : t.rollAbsent}</span>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
