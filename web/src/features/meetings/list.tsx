import type { JSX } from 'preact';
import type { ScheduledMeeting } from '../../api/types';
import { texts } from '../../i18n';
import { Badge } from '../../ui/badge';
import { now } from '../../ui/clock';
import { momentIn, whenText } from './days';
import { chosen, plans, zone } from './state';

/** All plans, those that take place soonest first; what is over comes last. */
export function List(): JSX.Element {
  const t = texts.value.planned;
  const order = (one: ScheduledMeeting): string => (one.next === null ? `~${one.date}` : one.next.starts_at);
  const rows = [...(plans.value ?? [])].sort((a, b) => order(a).localeCompare(order(b)));
  return (
    <section class="panel">
      <div class="table-box">
        <table class="table plans-table" data-testid="meetings-list">
          <thead>
            <tr>
              <th scope="col">{t.columns.title}</th>
              <th scope="col">{t.columns.room}</th>
              <th scope="col">{t.columns.when}</th>
              <th scope="col" class="number">{t.columns.length}</th>
              <th scope="col">{t.columns.next}</th>
              <th scope="col">{t.columns.state}</th>
            </tr>
          </thead>
          <tbody>{rows.map((plan) => <Row key={plan.id} plan={plan} />)}</tbody>
        </table>
      </div>
    </section>
  );
}

function Row({ plan }: { plan: ScheduledMeeting }): JSX.Element {
  const t = texts.value.planned;
  const open = (): void => { chosen.value = { id: plan.id, date: '' }; };
  return (
    <tr
      tabIndex={0} data-testid="meeting-row" data-id={plan.id} onClick={open}
      onKeyDown={(event) => {
        if (event.key === 'Enter') open();
      }}
    >
      <td><strong>{plan.title}</strong></td>
      <td>{plan.room}</td>
      <td>{whenText(plan)}</td>
      <td class="number">{t.minutes(plan.minutes)}</td>
      <td>{plan.next === null ? '–' : momentIn(zone.value, new Date(plan.next.starts_at))}</td>
      <td><StateBadge plan={plan} /></td>
    </tr>
  );
}

export function StateBadge({ plan }: { plan: ScheduledMeeting }): JSX.Element {
  const t = texts.value.planned;
  if (plan.cancelled) return <Badge tone="muted" icon="cross">{t.cancelled}</Badge>;
  if (plan.next === null) return <Badge tone="muted" icon="check">{t.over}</Badge>;
  if (Date.parse(plan.next.starts_at) <= now.value) return <Badge tone="busy" icon="air">{t.running}</Badge>;
  return <Badge tone="fine" icon="calendar">{plan.weekdays.length > 0 ? t.everyWeek : t.once}</Badge>;
}
