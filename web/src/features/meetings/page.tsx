import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { texts } from '../../i18n';
import { Empty } from '../../ui/empty';
import { Icon } from '../../ui/icon';
import { Calendars } from './calendars';
import { weekOf } from './calendar';
import { dayText } from './days';
import { Details } from './details';
import { PlanForm } from './form';
import { Held } from './held';
import { List } from './list';
import { chosen, editing, failed, mayPlan, monday, move, plans, refresh, subscribing, type View, view } from './state';
import { Week } from './week';

const again = 30_000;

/** Meetings that are planned, as a week and as a list, and those that were held with who was there. */
export function Meetings(): JSX.Element {
  const t = texts.value.planned;
  useEffect(() => {
    void refresh();
    const timer = setInterval(() => { if (!document.hidden) void refresh(); }, again);
    return () => {
      clearInterval(timer);
      plans.value = null; // whoever signs in next sees what they may see
      editing.value = chosen.value = null;
      subscribing.value = false;
    };
  }, []);
  const all = plans.value;
  if (all === null) return failed.value ? <div class="panel"><Empty icon="offline" title={t.loadFailed} hint={texts.value.shell.connecting} /></div> : <div class="panel" aria-busy="true" />;
  const open = chosen.value === null ? undefined : all.find((one) => one.id === chosen.value?.id);
  return (
    <div class="planned" data-testid="meetings" data-view={view.value}>
      <Tools />
      {view.value === 'held' ? <Held /> : all.length === 0 ? <Nothing /> : view.value === 'week' ? <Week /> : <List />}
      {open !== undefined && editing.value === null && <Details plan={open} date={chosen.value?.date ?? ''} />}
      {editing.value !== null && <PlanForm key={editing.value} plan={all.find((one) => one.id === editing.value)} />}
      {subscribing.value && <Calendars />}
    </div>
  );
}

function Nothing(): JSX.Element {
  const t = texts.value.planned;
  return (
    <div class="panel">
      <Empty icon="calendar" title={t.empty} hint={mayPlan.value ? t.emptyHint : t.noRights}>
        {mayPlan.value && <button type="button" class="button primary" onClick={() => { editing.value = ''; }}><Icon name="plus" />{t.add}</button>}
      </Empty>
    </div>
  );
}

function Tools(): JSX.Element {
  const t = texts.value.planned;
  const days = weekOf(monday.value);
  const views: { id: View; text: string }[] = [{ id: 'week', text: t.week }, { id: 'list', text: t.list }, { id: 'held', text: t.held }];
  return (
    <div class="planned-tools">
      <div class="segments" role="group" aria-label={t.views}>
        {views.map((one) => <button type="button" key={one.id} class="button small" aria-pressed={view.value === one.id} onClick={() => { view.value = one.id; }} data-testid={`meetings-view-${one.id}`}>{one.text}</button>)}
      </div>
      {view.value === 'week' && (
        <div class="week-steps">
          <button type="button" class="button quiet icon-only small" aria-label={t.earlier} title={t.earlier} onClick={() => { move(-1); }} data-testid="meetings-earlier"><Icon name="left" /></button>
          <button type="button" class="button quiet small" onClick={() => { move(0); }}>{t.today}</button>
          <button type="button" class="button quiet icon-only small" aria-label={t.later} title={t.later} onClick={() => { move(1); }} data-testid="meetings-later"><Icon name="right" /></button>
          <strong class="week-span">{dayText(days[0] ?? '')} – {dayText(days[6] ?? '')}</strong>
        </div>
      )}
      <span class="planned-space" />
      {mayPlan.value && (
        <>
          <button type="button" class="button small" onClick={() => { subscribing.value = true; }} data-testid="meetings-calendar"><Icon name="link" />{t.calendar.title}</button>
          <button type="button" class="button primary small" onClick={() => { editing.value = ''; }} data-testid="meetings-add"><Icon name="plus" />{t.add}</button>
        </>
      )}
    </div>
  );
}
