import { effect } from '@preact/signals';
import { render } from 'preact';
import type { JSX } from 'preact';
import '../styles/base.css';
import '../styles/chair.css';
import { PinPad } from '../features/meeting/pin';
import { LanguageButton, SchemeButton } from '../features/shell/controls';
import { formatClock, formatDuration, nameOf, texts } from '../i18n';
import { walkWithArrows } from '../ui/arrows';
import { now, startClock } from '../ui/clock';
import { Icon, type IconName } from '../ui/icon';
import { Toasts } from '../ui/toast';
import { Desk } from './desk';
import { Key } from './key';
import { Papers } from './papers';
import { Programme } from './programme';
import { act, begin, conference, leads, number, sit, state, unreachable } from './seat';
import { Venues } from './venues';

function Page(): JSX.Element {
  const current = state.value;
  const meeting = conference.meeting.value;
  const t = texts.value.meeting;
  const seated = (current === 'in' || current === 'reconnecting') && meeting !== null;
  return (
    <div class="chair" data-testid="chair-state" data-state={current} data-leads={leads.value}>
      {seated
        ? (
            <>
              <Head />
              <main class="chair-main"><Venues meeting={meeting} /><Programme meeting={meeting} /><Papers meeting={meeting} /></main>
              <Desk meeting={meeting} />
            </>
          )
        : current === 'pin_required' || current === 'pin_wrong'
          ? <PinPad title={t.chairPin} text={t.chairPinHint} wrong={current === 'pin_wrong'} onSubmit={sit} />
          : <Notice state={current} />}
      <Toasts />
    </div>
  );
}

function Head(): JSX.Element | null {
  const t = texts.value.meeting;
  const meeting = conference.meeting.value;
  if (meeting === null) return null;
  const { you } = meeting;
  const left = meeting.ends_at === null ? null : (Date.parse(meeting.ends_at) - now.value) / 1000;
  return (
    <header class="chair-head">
      <h1 data-testid="chair-title">{meeting.title !== '' ? meeting.title : conference.room.value?.name ?? number}<span class="muted">{number}</span></h1>
      <p class="chair-who" data-testid="chair-who" data-chair={meeting.chair}>
        <Icon name="chair" />
        {meeting.chair_name === null ? t.noChair : `${t.chairIs(nameOf(meeting.chair_name))}${meeting.chair_present ? '' : ` (${t.chairAway})`}`}
      </p>
      {you.chair && <Key icon="chair" text={t.releaseChair} testid="chair-release" onClick={() => { act('chair.release'); }} />}
      {!you.chair && you.may_chair && (meeting.chair === '' || !meeting.chair_present) && <button type="button" class="button primary" onClick={() => { act('chair.request'); }} data-testid="chair-request-chair"><Icon name="chair" />{t.requestChair}</button>}
      {!you.chair && you.may_revoke && meeting.chair !== '' && <Key anyone icon="chair" danger text={t.revokeChair} testid="chair-revoke" onClick={() => { act('chair.revoke'); }} />}
      <span class="chair-clock">
        {state.value === 'reconnecting' && <span class="soon" data-testid="chair-reconnecting"><Icon name="refresh" class="spin" />{texts.value.room.reconnecting}</span>}
        <span>{t.running} {formatDuration((now.value - Date.parse(meeting.started_at)) / 1000)}</span>
        {left !== null && <strong class={left < 600 ? 'soon' : ''} data-testid="chair-left">{t.endsIn(formatDuration(left))}</strong>}
        <time dateTime={new Date(now.value).toISOString()}>{formatClock(new Date(now.value))}</time>
      </span>
      <LanguageButton />
      <SchemeButton />
    </header>
  );
}

function Notice({ state: current }: { state: string }): JSX.Element {
  const t = texts.value.room;
  const m = texts.value.meeting.states;
  const words: Record<string, { icon: IconName; title: string; text: string }> = {
    unauthorized: { icon: 'shield', ...m.chairForbidden }, forbidden: { icon: 'shield', ...m.chairForbidden }, pin_locked: { icon: 'lock', ...m.pinLocked }, 'not-found': { icon: 'search', ...t.notFound },
    not_found: { icon: 'search', ...t.notFound }, meeting_ended: { icon: 'check', ...t.ended }, room_closed: { icon: 'check', ...t.ended }, removed: { icon: 'cross', ...t.removed }, room_full: { icon: 'users', ...t.full },
  };
  const found = words[current];
  return (
    <main class="notice" data-testid="chair-notice">
      <Icon name={found?.icon ?? 'loader'} class={found === undefined ? 'spin' : ''} />
      <h1>{found?.title ?? (unreachable.value ? t.connecting : t.joining)}</h1>
      {found !== undefined && <p>{found.text}</p>}
      {(current === 'unauthorized' || current === 'forbidden') && <a class="button primary" href={`/login?next=${encodeURIComponent(`/chair/${number}`)}`}>{t.signIn}</a>}
      {(current === 'meeting_ended' || current === 'room_closed') && <button type="button" class="button primary" onClick={() => { sit(); }} data-testid="chair-again">{t.rejoin}</button>}
    </main>
  );
}

effect(() => {
  document.title = `${texts.value.meeting.title} ${conference.room.value?.name ?? ''} ${number} · ${texts.value.product}`;
});

const root = document.getElementById('app');
if (root !== null) {
  startClock();
  walkWithArrows();
  render(<Page />, root);
  addEventListener('online', () => {
    conference.kick();
  });
  void begin();
}
