import type { ComponentChildren, JSX, TargetedInputEvent } from 'preact';
import { useState } from 'preact/hooks';
import { ApiError, planMeeting } from '../../api/http';
import { topics } from '../../api/live';
import type { MeetingPlan, ScheduledMeeting } from '../../api/types';
import { nameOf, texts } from '../../i18n';
import { Drawer } from '../../ui/drawer';
import { Icon } from '../../ui/icon';
import { say } from '../../ui/toast';
import { dayIn, listed } from './calendar';
import { chosen, editing, refresh, zone } from './state';

type Errors = ReadonlyMap<string, string>;

interface Draft extends Omit<MeetingPlan, 'skipped' | 'weekdays' | 'venues' | 'pin'> {
  weekdays: number[];
  venues: string[];
  skipped: string;
  pin: string;
  noPin: boolean;
}

function draftOf(plan: ScheduledMeeting | undefined): Draft {
  const rooms = topics.rooms.value?.rooms ?? [];
  if (plan === undefined) {
    const first = rooms[0];
    return {
      room: first?.number ?? '', title: '', notes: '', date: dayIn(zone.value, new Date()), time: '09:00', minutes: 60, weekdays: [], until: '', skipped: '',
      venues: (first?.venues ?? []).map((venue) => venue.id), auto_end: true, pin: '', noPin: false,
    };
  }
  return {
    room: plan.room, title: plan.title, notes: plan.notes, date: plan.date, time: plan.time, minutes: plan.minutes, weekdays: plan.weekdays, until: plan.until,
    skipped: plan.skipped.join(', '), venues: plan.venues, auto_end: plan.auto_end, pin: '', noPin: false,
  };
}

function planOf({ pin, noPin, skipped, ...rest }: Draft): MeetingPlan {
  return { ...rest, skipped: listed(skipped), ...(pin !== '' ? { pin } : noPin ? { pin: '' } : {}) };
}

const first = (errors: Errors): void => {
  document.querySelector<HTMLElement>(`[data-field="${[...errors.keys()][0] ?? ''}"] :is(input, select, textarea)`)?.focus();
};

/** A meeting to be planned or changed. What is wrong is said at its field, in the appliance's judgement. */
export function PlanForm({ plan }: { plan: ScheduledMeeting | undefined }): JSX.Element {
  const t = texts.value.planned;
  const f = t.form;
  const [draft, setDraft] = useState(() => draftOf(plan));
  const [errors, setErrors] = useState<Errors>(new Map());
  const [busy, setBusy] = useState(false);
  const put = (part: Partial<Draft>): void => { setDraft({ ...draft, ...part }); };
  const close = (): void => { editing.value = null; };
  const save = async (): Promise<void> => {
    setBusy(true);
    try {
      await planMeeting(plan?.id ?? '', planOf(draft));
      say(f.saved);
      close();
      chosen.value = null;
      await refresh();
    } catch (error) {
      const found = new Map((error instanceof ApiError ? error.fields : []).map(({ field, code }) => [field, t.errors[code] ?? t.errorOther]));
      setErrors(found);
      say(found.size > 0 ? f.check : f.failed, false);
      requestAnimationFrame(() => { first(found); });
    } finally {
      setBusy(false);
    }
  };
  const rooms = topics.rooms.value?.rooms ?? [];
  const venues = rooms.find((one) => one.number === draft.room)?.venues ?? [];
  const text = (field: 'title' | 'date' | 'time' | 'until' | 'skipped', label: string, type: 'text' | 'date' | 'time', hint = ''): JSX.Element => (
    <Field name={field} label={label} hint={hint} errors={errors}>
      {(described) => {
        const common = { id: `plan-${field}`, class: 'input', value: draft[field], ...described, onInput: (event: TargetedInputEvent<HTMLInputElement>) => { put({ [field]: event.currentTarget.value }); }, 'data-testid': `plan-${field}` };
        return type === 'text' ? <input {...common} type="text" /> : type === 'date' ? <input {...common} type="date" /> : <input {...common} type="time" />;
      }}
    </Field>
  );
  return (
    <Drawer title={plan === undefined ? f.add : f.edit} testid="plan-form" onClose={close}>
      <form
        class="plan-form" noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        {text('title', f.title, 'text')}
        <Field name="room" label={f.room} hint="" errors={errors}>
          {(described) => (
            <select
              id="plan-room" class="select" value={draft.room} {...described} data-testid="plan-room"
              onChange={(event) => {
                const number = event.currentTarget.value;
                put({ room: number, venues: (rooms.find((one) => one.number === number)?.venues ?? []).map((venue) => venue.id) });
              }}
            >
              {rooms.map((one) => <option key={one.number} value={one.number}>{one.name} {one.number}</option>)}
            </select>
          )}
        </Field>
        <div class="plan-row">
          {text('date', draft.weekdays.length > 0 ? f.firstDate : f.date, 'date')}
          {text('time', f.time, 'time')}
          <Field name="minutes" label={f.minutes} hint="" errors={errors}>
            {(described) => <input id="plan-minutes" class="input" type="number" min={1} max={1440} value={draft.minutes} {...described} onInput={(event) => { put({ minutes: Math.trunc(event.currentTarget.valueAsNumber) || 0 }); }} data-testid="plan-minutes" />}
          </Field>
        </div>
        <Choice name="weekdays" label={f.weekly} hint={f.weeklyHint} errors={errors}>
          {t.weekdays.map((name, index) => <Tick key={name} label={name} on={draft.weekdays.includes(index + 1)} onChange={(on) => { put({ weekdays: on ? [...draft.weekdays, index + 1] : draft.weekdays.filter((n) => n !== index + 1) }); }} testid={`plan-day-${String(index + 1)}`} />)}
        </Choice>
        {draft.weekdays.length > 0 && <div class="plan-row">{text('until', f.until, 'date', f.untilHint)}</div>}
        {draft.weekdays.length > 0 && text('skipped', f.skipped, 'text', f.skippedHint)}
        <Choice name="venues" label={f.venues} hint="" errors={errors}>
          <Tick label={f.all} on={venues.length > 0 && venues.every((one) => draft.venues.includes(one.id))} onChange={(on) => { put({ venues: on ? venues.map((one) => one.id) : [] }); }} testid="plan-venues-all" />
          {venues.map((one) => <Tick key={one.id} label={nameOf(one.name)} on={draft.venues.includes(one.id)} onChange={(on) => { put({ venues: on ? [...draft.venues, one.id] : draft.venues.filter((id) => id !== one.id) }); }} testid={`plan-venue-${one.id}`} />)}
        </Choice>
        <Choice name="auto_end" label={f.autoEnd} hint={f.autoEndHint} errors={errors}>
          <Tick label={f.autoEnd} on={draft.auto_end} onChange={(on) => { put({ auto_end: on }); }} testid="plan-auto-end" />
        </Choice>
        <Field name="pin" label={f.pin} hint={plan?.has_pin === true ? f.pinKeep : f.pinHint} errors={errors}>
          {(described) => <input id="plan-pin" class="input" inputMode="numeric" autocomplete="off" maxLength={16} value={draft.pin} {...described} onInput={(event) => { put({ pin: event.currentTarget.value }); }} data-testid="plan-pin" />}
        </Field>
        {plan?.has_pin === true && <Tick label={f.pinClear} on={draft.noPin} onChange={(on) => { put({ noPin: on }); }} testid="plan-pin-clear" />}
        <Field name="notes" label={f.notes} hint="" errors={errors}>
          {(described) => <textarea id="plan-notes" class="input plan-notes-box" rows={3} maxLength={500} value={draft.notes} {...described} onInput={(event) => { put({ notes: event.currentTarget.value }); }} data-testid="plan-notes" />}
        </Field>
        <button type="submit" class="button primary" disabled={busy} data-testid="plan-save"><Icon name="check" />{busy ? f.saving : f.save}</button>
      </form>
    </Drawer>
  );
}

interface Described { 'aria-describedby'?: string; 'aria-invalid'?: boolean }

/** A labelled field with its hint and what is wrong with it. */
function Field({ name, label, hint, errors, children }: { name: string; label: string; hint: string; errors: Errors; children: (described: Described) => JSX.Element }): JSX.Element {
  const wrong = errors.get(name);
  const described: Described = { ...(hint !== '' || wrong !== undefined ? { 'aria-describedby': `plan-${name}-note` } : {}), ...(wrong === undefined ? {} : { 'aria-invalid': true }) };
  return (
    <div class={`field${wrong === undefined ? '' : ' wrong'}`} data-field={name}>
      <label for={`plan-${name}`}>{label}</label>
      {children(described)}
      <Note name={name} hint={hint} wrong={wrong} />
    </div>
  );
}

function Note({ name, hint, wrong }: { name: string; hint: string; wrong: string | undefined }): JSX.Element | null {
  if (wrong !== undefined) return <p id={`plan-${name}-note`} class="field-error" role="alert" data-testid={`plan-error-${name}`}><Icon name="alert" />{wrong}</p>;
  return hint === '' ? null : <p id={`plan-${name}-note`} class="muted small">{hint}</p>;
}

/** Several things to tick under one heading. */
function Choice({ name, label, hint, errors, children }: { name: string; label: string; hint: string; errors: Errors; children: ComponentChildren }): JSX.Element {
  return (
    <fieldset class="choice" data-field={name}>
      <legend>{label}</legend>
      <div class="ticks">{children}</div>
      <Note name={name} hint={hint} wrong={errors.get(name)} />
    </fieldset>
  );
}

function Tick({ label, on, onChange, testid }: { label: string; on: boolean; onChange: (on: boolean) => void; testid: string }): JSX.Element {
  return <label class="tick"><input type="checkbox" checked={on} onChange={(event) => { onChange(event.currentTarget.checked); }} data-testid={testid} />{label}</label>;
}
