import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { Chat } from '../features/meeting/chat';
import { layouts } from '../features/meeting/layout';
import { RollSheet } from '../features/meeting/roll';
import { nameOf, texts } from '../i18n';
import type { Participant } from '../rtc/protocol';
import { Icon, type IconName } from '../ui/icon';
import { conference, number } from './room';

/** The panel beside the pictures: nothing, the messages, or what the chair needs. */
export const panel = signal<'' | 'chat' | 'lead'>('');
const chosen = signal('');

const act = conference.act.bind(conference);

function Key({ icon, text, on, onClick, testid, disabled = false }: { icon: IconName; text: string; on?: boolean; onClick: () => void; testid: string; disabled?: boolean }): JSX.Element {
  return <button type="button" class={`key-button${on === true ? ' on' : ''}`} aria-pressed={on} disabled={disabled} onClick={onClick} data-testid={testid}><Icon name={icon} /><span>{text}</span></button>;
}

export function Panel(): JSX.Element | null {
  const t = texts.value.meeting;
  const box = useRef<HTMLElement>(null);
  const open = panel.value;
  const meeting = conference.meeting.value;
  const shown = open === 'lead' && meeting?.you.chair !== true ? '' : open;
  useEffect(() => {
    box.current?.querySelector<HTMLElement>('button')?.focus({ preventScroll: true });
  }, [shown]);
  if (shown === '' || meeting === null) return null;
  return (
    <aside
      class="side" ref={box} aria-label={shown === 'chat' ? t.chat : t.lead} data-testid={`room-panel-${shown}`}
      onKeyDown={(event) => {
        if (event.key === 'Escape') panel.value = '';
      }}
    >
      <header>
        <h2>{shown === 'chat' ? t.chat : t.lead}</h2>
        <button type="button" class="key-button small" onClick={() => { panel.value = ''; }} data-testid="room-panel-close"><Icon name="close" /><span>{t.leadClose}</span></button>
      </header>
      {shown === 'chat' ? <Chat conference={conference} quick /> : <Lead />}
    </aside>
  );
}

/** The chair's acts for a remote control: choose a venue, then what to do with it; below that what concerns all. */
function Lead(): JSX.Element | null {
  const t = texts.value.meeting;
  const meeting = conference.meeting.value;
  if (meeting === null) return null;
  const others = conference.participants.value.filter((participant) => participant.id !== conference.self.value);
  const target = others.find((participant) => participant.member === chosen.value) ?? others[0];
  const next = layouts[(layouts.indexOf(meeting.layout) + 1) % layouts.length] ?? '';
  return (
    <div class="lead">
      <ul class="lead-venues">
        {others.map((participant) => (
          <li key={participant.id}>
            <button type="button" class={`lead-venue${participant === target ? ' on' : ''}`} aria-pressed={participant === target} onClick={() => { chosen.value = participant.member; }} data-testid="room-lead-venue" data-member={participant.member}>
              <strong>{nameOf(participant.name)}</strong>
              <Marks participant={participant} />
            </button>
          </li>
        ))}
      </ul>
      {others.length === 0 && <p class="chat-empty">{texts.value.room.alone}</p>}
      {target !== undefined && (
        <div class="lead-keys" role="group" aria-label={nameOf(target.name)}>
          <Key icon="air" text={meeting.on_air === target.member ? t.stopBroadcast : t.broadcast} on={meeting.on_air === target.member} testid="room-lead-broadcast" onClick={() => { act('broadcast', { target: meeting.on_air === target.member ? '' : target.member }); }} />
          <Key icon="mic" text={meeting.floor === target.member ? t.takeFloor : t.giveFloor} on={meeting.floor === target.member} testid="room-lead-floor" onClick={() => { act('floor.give', { target: meeting.floor === target.member ? '' : target.member }); }} />
          <Key icon="mic-off" text={target.chair_muted ? t.unmute : t.mute} on={target.chair_muted} testid="room-lead-mute" onClick={() => { act('mute.one', { target: target.member, on: !target.chair_muted }); }} />
          <Key icon="eye" text={t.view} on={meeting.view === target.member} testid="room-lead-view" onClick={() => { act('view', { target: meeting.view === target.member ? '' : target.member }); }} />
        </div>
      )}
      <div class="lead-keys" role="group" aria-label={t.settings}>
        <Key icon="users" text={t.discussion} testid="room-lead-discussion" onClick={() => { act('discussion'); }} />
        <Key icon="mic-off" text={meeting.mute_all ? t.unmuteAll : t.muteAll} on={meeting.mute_all} testid="room-lead-mute-all" onClick={() => { act('mute.all', { on: !meeting.mute_all }); }} />
        <Key icon="roll" text={meeting.roll?.closed_at === null ? t.rollClose : t.rollStart} on={meeting.roll?.closed_at === null} testid="room-lead-roll" onClick={() => { act(meeting.roll?.closed_at === null ? 'roll.close' : 'roll.start'); }} />
        <Key icon="poll" text={meeting.poll === null ? t.pollStart : t.pollStop} on={meeting.poll !== null} testid="room-lead-poll" onClick={() => { if (meeting.poll === null) act('poll.start', { seconds: 15, on: true }); else act('poll.stop'); }} />
        <Key icon="layout" text={t.layouts[meeting.layout]} testid="room-lead-layout" onClick={() => { act('layout', { layout: next, on: next !== '' }); }} />
        <Key icon="chair" text={t.releaseChair} testid="room-lead-release" onClick={() => { act('chair.release'); }} />
      </div>
      {meeting.requests.length > 0 && (
        <div class="lead-requests">
          <h3>{t.requests}</h3>
          {meeting.requests.map((request) => <Key key={request.member} icon="hand" text={nameOf(request.name)} testid="room-lead-request" onClick={() => { act('floor.give', { target: request.member }); }} />)}
        </div>
      )}
      {meeting.you.waiting.length > 0 && <Key icon="admit" text={`${t.admitAll} (${String(meeting.you.waiting.length)})`} testid="room-lead-admit" onClick={() => { act('room.admit', { target: '*' }); }} />}
      {meeting.roll !== null && <RollSheet roll={meeting.roll} />}
      <p class="lead-more muted">{t.open}: <span class="mono">/chair/{number}</span></p>
    </div>
  );
}

function Marks({ participant }: { participant: Participant }): JSX.Element {
  const t = texts.value.meeting;
  const meeting = conference.meeting.value;
  return (
    <span class="lead-marks">
      {meeting?.requests.some((request) => request.member === participant.member) === true && <Icon name="hand" />}
      {meeting?.on_air === participant.member && <span class="mark">{t.broadcasting}</span>}
      {meeting?.floor === participant.member && <span class="mark">{t.hasFloor}</span>}
      {participant.audio_muted && <Icon name="mic-off" />}
    </span>
  );
}
