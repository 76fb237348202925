import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { ApiError, hangUp } from '../../api/http';
import { topics } from '../../api/live';
import type { Call, CallLeg, CallParty } from '../../api/types';
import { mayHangUp } from '../../console/session';
import { formatDecimal, formatNumber, texts } from '../../i18n';
import { Badge } from '../../ui/badge';
import { Empty } from '../../ui/empty';
import { Icon } from '../../ui/icon';
import { say } from '../../ui/toast';
import { siteName } from '../lines/sites';
import { CallDetails } from '../records/call';
import { Quality } from './quality';
import { CallBadge, CallDuration } from './state';
import { TapeBadge, TapeButton } from './tape';

const open = signal<ReadonlySet<string>>(new Set());
/** The call whose signalling is looked at, with its title. */
const watched = signal({ id: '', title: '' });
/** The call whose hang-up button was pressed once. */
const asked = signal('');

async function cut(call: Call): Promise<void> {
  const t = texts.value.calls;
  if (asked.value !== call.id) {
    asked.value = call.id;
    setTimeout(() => {
      if (asked.value === call.id) asked.value = '';
    }, 4000);
    return;
  }
  asked.value = '';
  try {
    await hangUp(call.id);
    say(t.hungUp);
  } catch (error) {
    say(error instanceof ApiError && error.status === 403 ? t.forbidden : t.hangUpFailed, false);
  }
}

function toggle(id: string): void {
  const next = new Set(open.value);
  if (!next.delete(id)) next.add(id);
  open.value = next;
}

export function Calls(): JSX.Element {
  const t = texts.value.calls;
  const calls = topics.calls.value?.calls ?? null;
  if (calls === null) return <div class="panel" aria-busy="true" />;
  if (calls.length === 0) return <div class="panel"><Empty icon="call" title={t.empty} hint={t.emptyHint} /></div>;
  return (
    <section class="panel fill">
      <div class="table-box">
        <table class="table calls" data-testid="calls-table">
          <thead>
            <tr>
              <th scope="col"><span class="visually-hidden">{t.legs}</span></th>
              <th scope="col">{t.state}</th>
              <th scope="col">{t.caller}</th>
              <th scope="col">{t.callee}</th>
              <th scope="col">{t.path}</th>
              <th scope="col">{t.codec}</th>
              <th scope="col">{t.quality}</th>
              <th scope="col" class="number">{t.duration}</th>
              {mayHangUp() && <th scope="col"><span class="visually-hidden">{t.hangUp}</span></th>}
            </tr>
          </thead>
          {calls.map((call) => <Row key={call.id} call={call} />)}
        </table>
      </div>
      {watched.value.id !== '' && <CallDetails id={watched.value.id} title={watched.value.title} onClose={() => { watched.value = { id: '', title: '' }; }} />}
    </section>
  );
}

function Row({ call }: { call: Call }): JSX.Element {
  const t = texts.value.calls;
  const unfolded = open.value.has(call.id);
  const legs = call.legs ?? [];
  return (
    <tbody>
      <tr data-testid="call-row" data-id={call.id} data-state={call.state}>
        <td class="fold">
          <button
            type="button" class="button quiet icon-only small" aria-expanded={unfolded} aria-label={unfolded ? t.hide : t.show}
            onClick={() => {
              toggle(call.id);
            }}
          >
            <Icon name={unfolded ? 'chevron-up' : 'chevron-down'} />
          </button>
        </td>
        <td>
          <CallBadge call={call} />
          {(call.class === 'emergency' || call.class === 'priority') && <Badge tone={call.class === 'emergency' ? 'failure' : 'warning'}>{t.classes[call.class]}</Badge>}
          <TapeBadge call={call} />
        </td>
        <td><Party party={call.from} /></td>
        <td><Party party={call.to} /></td>
        <td>{t.paths[call.path]}</td>
        <td>{call.codec === null || call.codec === '' ? '–' : call.codec}</td>
        <td><Quality id={call.id} mos={call.mos} /></td>
        <td class="number"><CallDuration call={call} /></td>
        {mayHangUp() && (
          <td class="number">
            {call.state !== 'ended' && (
              <button type="button" class={`button small ${asked.value === call.id ? 'danger' : ''}`} onClick={() => void cut(call)} data-testid="call-hangup">
                <Icon name="phone-off" />
                {asked.value === call.id ? t.confirm : t.hangUp}
              </button>
            )}
          </td>
        )}
      </tr>
      {unfolded && (
        <tr class="legs" data-testid="call-legs">
          <td />
          <td colSpan={mayHangUp() ? 8 : 7}>
            {legs.every((leg) => !(leg.packets > 0)) && <p class="muted">{t.directMedia}</p>}
            <p>
              <button type="button" class="button small" data-testid="call-signalling" onClick={() => { watched.value = { id: call.id, title: `${call.from.extension} → ${call.to.extension}` }; }}>
                <Icon name="records" />
                {texts.value.records.show}
              </button>{' '}
              <TapeButton call={call} />
            </p>
            <div class="legs-grid">{legs.filter((leg) => leg.packets > 0).map((leg) => <Leg key={leg.side} leg={leg} id={call.id} />)}</div>
          </td>
        </tr>
      )}
    </tbody>
  );
}

function Party({ party }: { party: CallParty }): JSX.Element {
  return (
    <span class="party">
      <strong>{party.extension}</strong>
      <span>{party.display_name}</span>
      <span class="muted small">{siteName(party.site)}</span>
    </span>
  );
}

function Leg({ leg, id }: { leg: CallLeg; id: string }): JSX.Element {
  const t = texts.value.calls;
  return (
    <dl class="facts leg">
      <dt>{t[leg.side]}</dt>
      <dd>{siteName(leg.site)} · {leg.transport} · <span class="mono">{leg.address}</span></dd>
      <dt>{t.packets}</dt>
      <dd>{formatNumber(leg.packets)}</dd>
      <dt>{t.lost}</dt>
      <dd>{formatNumber(leg.lost)} ({formatDecimal(leg.loss_percent)} %)</dd>
      <dt>{t.jitter}</dt>
      <dd>{formatDecimal(leg.jitter_ms)} ms</dd>
      <dt>{t.quality}</dt>
      <dd><Quality id={id} mos={leg.mos} spark={false} /></dd>
    </dl>
  );
}
