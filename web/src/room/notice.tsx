import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { texts } from '../i18n';
import { Icon, type IconName } from '../ui/icon';
import { join, number, prepare, type RoomState, unreachable } from './room';
import { Coming } from './standby';

interface Words {
  icon: IconName;
  title: string;
  text: string;
  act?: { text: string; run: () => void; testid: string };
}

/** The words of every state in which there is no meeting on the screen; null for those that have their own page. */
function wordsOf(state: RoomState): Words | null {
  const t = texts.value.room;
  const m = texts.value.meeting.states;
  const again = { text: t.rejoin, run: () => { join(); }, testid: 'room-join' };
  switch (state) {
    case 'linking':
      return { icon: 'loader', title: unreachable.value ? t.connecting : t.linking, text: '' };
    case 'preparing':
      return { icon: 'loader', title: t.preparing, text: t.permissionAsk };
    case 'joining':
      return { icon: 'loader', title: t.joining, text: '' };
    case 'unauthorized':
      return { icon: 'link', ...t.unauthorized };
    case 'link-invalid':
      return { icon: 'link', ...t.linkInvalid };
    case 'not_found':
    case 'not-found':
      return { icon: 'search', ...t.notFound };
    case 'insecure':
      return { icon: 'shield', ...t.insecure };
    case 'unsupported':
      return { icon: 'alert', ...t.unsupported };
    case 'no-permission':
      return {
        icon: 'camera-off', title: t.denied.title, text: navigator.userAgent.includes('Firefox') ? t.denied.firefox : t.denied.chromium,
        act: { text: t.retry, run: () => void prepare(), testid: 'room-retry' },
      };
    case 'left':
      return { icon: 'phone-off', ...t.left, act: again };
    case 'removed':
      return { icon: 'cross', ...t.removed, act: again };
    case 'replaced':
      return { icon: 'users', ...t.replaced, act: { ...again, text: t.joinHere } };
    case 'waiting':
      return { icon: 'waiting', ...m.waiting };
    case 'locked':
      return { icon: 'lock', ...m.locked, act: again };
    case 'dropped':
      return { icon: 'cross', ...m.dropped, act: again };
    case 'turned_away':
      return { icon: 'cross', ...m.turnedAway, act: again };
    case 'pin_locked':
      return { icon: 'lock', ...m.pinLocked, act: again };
    case 'meeting_ended':
    case 'room_closed':
      return { icon: 'check', ...t.ended, act: again };
    case 'room_full':
      return { icon: 'users', ...t.full, act: again };
    case 'forbidden':
      return { icon: 'shield', ...t.forbidden };
    case 'pin_required':
    case 'pin_wrong':
    case 'prejoin':
    case 'in-meeting':
    case 'reconnecting':
      return null;
  }
}

export function Notice({ state }: { state: RoomState }): JSX.Element | null {
  const button = useRef<HTMLButtonElement>(null);
  const words = wordsOf(state);
  useEffect(() => button.current?.focus(), [state]);
  if (words === null) return null;
  return (
    <main class="notice" data-testid="room-notice">
      <Icon name={words.icon} class={words.icon === 'loader' ? 'spin' : ''} />
      <h1>{words.title}</h1>
      {words.text !== '' && <p>{words.text}</p>}
      {(state === 'left' || state === 'meeting_ended' || state === 'removed') && <Coming />}
      {state === 'no-permission' && <Picture />}
      {words.act !== undefined && (
        <button type="button" class="join" ref={button} onClick={words.act.run} data-testid={words.act.testid}>{words.act.text}</button>
      )}
      {state === 'no-permission' && <button type="button" class="second" onClick={() => { join(); }} data-testid="room-watch">{texts.value.room.watchOnly}</button>}
      {state === 'unauthorized' && <a class="second" href={`/login?next=${encodeURIComponent(`/room/${number}`)}`}>{texts.value.room.signIn}</a>}
    </main>
  );
}

/** Where to click: a drawing of the browser's own address bar and its question. */
function Picture(): JSX.Element {
  const t = texts.value.room;
  const row = (icon: IconName, text: string): ComponentChildren => (
    <span class="permission-row"><Icon name={icon} />{text}<b>{t.screenshotAllow}</b></span>
  );
  return (
    <div class="permission" aria-hidden="true">
      <span class="permission-bar"><i><Icon name={navigator.userAgent.includes('Firefox') ? 'video-off' : 'lines'} /></i>{location.host}/room/{number}</span>
      <span class="permission-box">
        {row('video', t.screenshotCamera)}
        {row('mic', t.screenshotMicrophone)}
      </span>
    </div>
  );
}
