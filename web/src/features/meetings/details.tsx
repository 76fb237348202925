import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { calendarFile, cancelMeeting, skipMeeting } from '../../api/http';
import { topics } from '../../api/live';
import type { ScheduledMeeting } from '../../api/types';
import { nameOf, texts } from '../../i18n';
import { Drawer } from '../../ui/drawer';
import { Icon } from '../../ui/icon';
import { say } from '../../ui/toast';
import { dayText, momentIn, whenText } from './days';
import { StateBadge } from './list';
import { chosen, editing, mayPlan, refresh, zone } from './state';

const sureMs = 4000;

async function run(act: () => Promise<void>, done: string): Promise<void> {
  try {
    await act();
    say(done);
  } catch {
    say(texts.value.planned.details.failed, false);
  }
  await refresh();
}

/** One plan: what it is, and what can be done with it or with one day of it. */
export function Details({ plan, date }: { plan: ScheduledMeeting; date: string }): JSX.Element {
  const t = texts.value.planned;
  const d = t.details;
  const weekly = plan.weekdays.length > 0;
  const names = topics.rooms.value?.rooms?.find((one) => one.number === plan.room)?.venues ?? [];
  const called = plan.venues.map((id) => names.find((one) => one.id === id)).map((one, index) => (one === undefined ? plan.venues[index] ?? '' : nameOf(one.name)));
  return (
    <Drawer title={plan.title} testid="meeting-details" onClose={() => { chosen.value = null; }}>
      <p class="drawer-state"><StateBadge plan={plan} /></p>
      <dl class="facts">
        <dt>{t.columns.when}</dt><dd>{whenText(plan)}, {t.minutes(plan.minutes)} <small class="muted">{plan.time_zone}</small></dd>
        <dt>{t.columns.room}</dt><dd>{plan.room}</dd>
        {plan.next !== null && <><dt>{t.next}</dt><dd>{momentIn(zone.value, new Date(plan.next.starts_at))}</dd></>}
        {called.length > 0 && <><dt>{t.form.venues}</dt><dd>{called.join(', ')}</dd></>}
        {plan.skipped.length > 0 && <><dt>{t.form.skipped}</dt><dd>{plan.skipped.join(', ')}</dd></>}
        <dt>{d.end}</dt><dd>{plan.auto_end ? d.autoEnd : d.openEnd}</dd>
        {plan.has_pin && <><dt>{t.form.pin}</dt><dd>{d.pin}</dd></>}
        {plan.notes !== '' && <><dt>{t.form.notes}</dt><dd class="plan-notes">{plan.notes}</dd></>}
      </dl>
      <p class="muted small plan-by">{d.by(plan.created_by)}</p>
      <div class="drawer-keys">
        {mayPlan.value && <button type="button" class="button primary" onClick={() => { editing.value = plan.id; }} data-testid="meeting-edit"><Icon name="pencil" />{plan.cancelled ? d.again : d.edit}</button>}
        {mayPlan.value && weekly && date !== '' && !plan.cancelled && (
          <button
            type="button" class="button" data-testid="meeting-skip"
            onClick={() => {
              chosen.value = null;
              void run(() => skipMeeting(plan.id, date, true), d.skipped);
            }}
          >
            <Icon name="cross" />{d.skip(dayText(date))}
          </button>
        )}
        <a class="button" href={calendarFile(plan.id)} download data-testid="meeting-file"><Icon name="download" />{d.file}</a>
        {mayPlan.value && !plan.cancelled && <Cancel plan={plan} weekly={weekly} />}
      </div>
      {mayPlan.value && plan.skipped.length > 0 && (
        <div class="drawer-keys">
          {plan.skipped.map((day) => <button type="button" key={day} class="button small" onClick={() => void run(() => skipMeeting(plan.id, day, false), d.restored)}>{d.unskip(dayText(day))}</button>)}
        </div>
      )}
    </Drawer>
  );
}

/** Calling a meeting off concerns many: it is pressed twice. */
function Cancel({ plan, weekly }: { plan: ScheduledMeeting; weekly: boolean }): JSX.Element {
  const d = texts.value.planned.details;
  const [sure, setSure] = useState(false);
  useEffect(() => {
    if (!sure) return undefined;
    const timer = setTimeout(() => { setSure(false); }, sureMs);
    return () => { clearTimeout(timer); };
  }, [sure]);
  return (
    <button
      type="button" class="button danger" data-testid="meeting-cancel"
      onClick={() => {
        if (!sure) {
          setSure(true);
          return;
        }
        chosen.value = null;
        void run(() => cancelMeeting(plan.id), d.cancelled);
      }}
    >
      <Icon name="cross" />{sure ? d.cancelSure : weekly ? d.cancelSeries : d.cancel}
    </button>
  );
}
