import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { Chat } from '../features/meeting/chat';
import { RollSheet } from '../features/meeting/roll';
import { formatClock, formatClockSeconds, nameOf, texts } from '../i18n';
import type { Meeting, Minute } from '../rtc/protocol';
import { Icon } from '../ui/icon';
import { Key } from './key';
import { act, conference, number } from './seat';

const tab = signal<'chat' | 'record' | 'roll'>('chat');

/** Who wants to speak or to come in, and the papers of the meeting. */
export function Papers({ meeting }: { meeting: Meeting }): JSX.Element {
  const t = texts.value.meeting;
  const started = meeting.roll?.started_at;
  useEffect(() => {
    if (started !== undefined) tab.value = 'roll';
  }, [started]);
  const tabs = [{ id: 'chat' as const, text: t.chat }, { id: 'record' as const, text: t.record }, ...(meeting.roll === null ? [] : [{ id: 'roll' as const, text: t.roll }])];
  return (
    <section class="papers" aria-label={t.tabs}>
      <Requests meeting={meeting} />
      {meeting.you.waiting.length > 0 && <Waiting meeting={meeting} />}
      <div class="tabs" role="tablist" aria-label={t.tabs}>
        {tabs.map((one) => (
          <button type="button" key={one.id} role="tab" id={`tab-${one.id}`} aria-selected={tab.value === one.id} aria-controls="papers" class={tab.value === one.id ? 'on' : ''} onClick={() => { tab.value = one.id; }} data-testid={`chair-tab-${one.id}`}>{one.text}</button>
        ))}
      </div>
      <div class="papers-body" role="tabpanel" id="papers" aria-labelledby={`tab-${tab.value}`}>
        {tab.value === 'chat' ? <Chat conference={conference} quick={false} /> : tab.value === 'roll' && meeting.roll !== null ? <RollSheet roll={meeting.roll} /> : <Record meeting={meeting} />}
      </div>
    </section>
  );
}

function Requests({ meeting }: { meeting: Meeting }): JSX.Element {
  const t = texts.value.meeting;
  return (
    <div class="requests" data-testid="chair-requests">
      <h2>{t.requests}{meeting.requests.length > 0 && <span class="count">{meeting.requests.length}</span>}</h2>
      {meeting.requests.length === 0 && <p class="muted small">{t.noRequests}</p>}
      <ol>
        {meeting.requests.map((request) => (
          <li key={request.member} data-testid="chair-request" data-member={request.member}>
            <Icon name="hand" />
            <strong>{nameOf(request.name)}</strong>
            <time class="muted" dateTime={request.at}>{formatClock(new Date(request.at))}</time>
            <Key icon="mic" text={t.giveFloor} testid="chair-request-give" onClick={() => { act('floor.give', { target: request.member }); }} />
            <Key bare icon="close" text={t.decline} testid="chair-request-decline" onClick={() => { act('floor.decline', { target: request.member }); }} />
          </li>
        ))}
      </ol>
    </div>
  );
}

function Waiting({ meeting }: { meeting: Meeting }): JSX.Element {
  const t = texts.value.meeting;
  return (
    <div class="requests" data-testid="chair-waiting">
      <h2>{t.waiting}<span class="count">{meeting.you.waiting.length}</span><Key icon="admit" text={t.admitAll} testid="chair-admit-all" onClick={() => { act('room.admit', { target: '*' }); }} /></h2>
      <ol>
        {meeting.you.waiting.map((guest) => (
          <li key={guest.id}>
            <Icon name="waiting" />
            <strong>{nameOf(guest.name)}</strong>
            <time class="muted" dateTime={guest.at}>{formatClock(new Date(guest.at))}</time>
            <Key icon="admit" text={t.admit} testid="chair-admit" onClick={() => { act('room.admit', { target: guest.id }); }} />
            <Key bare icon="drop" text={t.turnAway} testid="chair-turn-away" onClick={() => { act('room.turn_away', { target: guest.id }); }} />
          </li>
        ))}
      </ol>
    </div>
  );
}

function Record({ meeting }: { meeting: Meeting }): JSX.Element {
  const t = texts.value.meeting;
  const minutes = conference.minutes.value;
  const list = useRef<HTMLOListElement>(null);
  useEffect(() => {
    list.current?.scrollTo({ top: list.current.scrollHeight });
  }, [minutes.length]);
  return (
    <div class="record">
      <ol ref={list} class="record-lines" tabIndex={0} aria-label={t.record} data-testid="chair-minutes">
        {minutes.map((minute, index) => <li key={index}><time dateTime={minute.at}>{formatClockSeconds(new Date(minute.at))}</time><span>{sentence(minute)}</span></li>)}
      </ol>
      <a class="button small" href={`/api/v1/rooms/${encodeURIComponent(number)}/minutes.csv?meeting=${encodeURIComponent(meeting.id)}`} download data-testid="chair-export"><Icon name="download" />{t.export}</a>
    </div>
  );
}

function sentence(minute: Minute): string {
  const t = texts.value.meeting;
  const who = minute.actor === '' ? '' : nameOf(minute.actor_name) || minute.actor;
  const target = minute.target === '' ? '' : nameOf(minute.target_name) || minute.target;
  const detail = minute.detail === 'on' ? t.on : minute.detail === 'off' ? t.off : minute.detail;
  return [who, t.actions[minute.action] ?? minute.action, target, detail].filter((part) => part !== '').join(' ');
}
