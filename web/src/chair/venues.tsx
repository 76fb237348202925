import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { Picture } from '../features/meeting/picture';
import { formatDecimal, nameOf, texts } from '../i18n';
import type { Meeting, Participant, PhoneCall, VenueState } from '../rtc/protocol';
import { Icon } from '../ui/icon';
import { Key } from './key';
import { act, conference, leads } from './seat';

/** How many pictures the page is sent at once; more participants are on further pages. */
const perPage = 8;
const page = signal(0);

export function Venues({ meeting }: { meeting: Meeting }): JSX.Element {
  const t = texts.value.meeting;
  const participants = conference.participants.value;
  const absent = meeting.venues.filter((venue) => !participants.some((participant) => participant.member === venue.id));
  const pages = Math.max(1, Math.ceil(participants.length / perPage));
  const at = Math.min(page.value, pages - 1);
  const callable = absent.filter((venue) => venue.stands_by && !venue.called && !venue.dropped);
  return (
    <section class="venues-box" aria-labelledby="venues-title">
      <h2 id="venues-title">{t.venues}<span class="muted">{t.present(meeting.venues.filter((venue) => venue.present).length, meeting.venues.length)}</span></h2>
      <ul class="chair-venues">
        {participants.slice(at * perPage, (at + 1) * perPage).map((participant) => <Venue key={participant.id} participant={participant} meeting={meeting} />)}
        {at === pages - 1 && absent.map((venue) => <Absent key={venue.id} venue={venue} />)}
        {meeting.you.calls.map((call) => <Calling key={call.id} call={call} />)}
      </ul>
      <CallPhone />
      {pages > 1 && (
        <nav class="venue-pages" aria-label={t.venues}>
          <button type="button" class="button small icon-only" aria-label={t.pageBefore} disabled={at === 0} onClick={() => { page.value = at - 1; }} data-testid="chair-page-before"><Icon name="left" /></button>
          <span data-testid="chair-page">{at + 1} / {pages}</span>
          <button type="button" class="button small icon-only" aria-label={t.pageAfter} disabled={at === pages - 1} onClick={() => { page.value = at + 1; }} data-testid="chair-page-after"><Icon name="right" /></button>
        </nav>
      )}
      {callable.length > 1 && <Key icon="call" text={t.callAll(callable.length)} testid="chair-call-all" onClick={() => { act('venue.call', { target: '*' }); }} />}
    </section>
  );
}

function Absent({ venue }: { venue: VenueState }): JSX.Element {
  const t = texts.value.meeting;
  return (
    <li class="chair-venue absent" data-testid="chair-venue" data-member={venue.id} data-present="false" data-called={venue.called} data-stands-by={venue.stands_by}>
      <span class="picture"><Icon name="video-off" /></span>
      <strong>{nameOf(venue.name)}</strong>
      <span class="muted">{venue.called ? t.calling : venue.dropped ? t.dropped : venue.stands_by ? t.standsBy : t.absent}</span>
      {venue.stands_by && !venue.called && <span class="venue-keys"><Key icon="call" text={t.call} testid="chair-call-venue" onClick={() => { act('venue.call', { target: venue.id }); }} /></span>}
      {venue.dropped && !venue.stands_by && <span class="venue-keys"><Key icon="admit" text={t.add} testid="chair-add" onClick={() => { act('venue.add', { target: venue.id }); }} /></span>}
    </li>
  );
}

function Venue({ participant, meeting }: { participant: Participant; meeting: Meeting }): JSX.Element {
  const t = texts.value.meeting;
  const words = texts.value.line.words;
  const { member } = participant;
  const chair = member === meeting.chair;
  const onAir = meeting.on_air === member;
  const floor = meeting.floor === member;
  const phone = participant.kind === 'phone'; // it has no picture
  const speaking = conference.speaking.value.includes(participant.id) && !participant.audio_muted;
  const quality = conference.quality.value.get(participant.id);
  return (
    <li class={`chair-venue${onAir ? ' on-air' : ''}${speaking ? ' speaking' : ''}`} data-testid="chair-venue" data-member={member} data-present="true" data-muted={participant.audio_muted} data-on-air={onAir} data-floor={floor}>
      <Picture conference={conference} participant={participant} testid="chair-thumb" />
      <strong>
        {nameOf(participant.name)}
        {chair && <span class="mark">{texts.value.roles.chair}</span>}
        {onAir && <span class="mark">{t.broadcasting}</span>}
        {floor && <span class="mark">{t.hasFloor}</span>}
      </strong>
      <span class="venue-state">
        {speaking && <span class="fine"><Icon name="volume" />{t.speaking}</span>}
        {participant.audio_muted && <span><Icon name="mic-off" />{t.muted}</span>}
        {quality !== undefined && (
          <span class={`line-word ${quality.line}`} title={t.quality(formatDecimal(quality.loss_percent), String(Math.round(quality.rtt_ms)))} data-testid="chair-line" data-line={quality.line}>
            <Icon name={quality.line === 'good' || quality.line === 'none' ? 'check' : 'warning'} />{words[quality.line]}
          </span>
        )}
      </span>
      {member !== meeting.you.member && (
        <span class="venue-keys">
          {phone || <Key icon="air" text={onAir ? t.stopShort : t.broadcast} hint={onAir ? t.stopBroadcast : ''} on={onAir} testid="chair-broadcast" onClick={() => { act('broadcast', { target: onAir ? '' : member }); }} />}
          <Key icon="mic" text={floor ? t.takeShort : t.giveFloor} hint={floor ? t.takeFloor : ''} on={floor} testid="chair-floor" onClick={() => { act('floor.give', { target: floor ? '' : member }); }} />
          {!chair && <Key bare icon="mic-off" text={participant.chair_muted ? t.unmute : t.mute} on={participant.chair_muted} testid="chair-mute" onClick={() => { act('mute.one', { target: member, on: !participant.chair_muted }); }} />}
          {phone || <Key bare icon="eye" text={t.view} on={meeting.view === member} testid="chair-view" onClick={() => { act('view', { target: meeting.view === member ? '' : member }); }} />}
          {phone || <Key bare icon="video-off" text={participant.camera_off ? t.cameraOn : t.camera} on={participant.camera_off} testid="chair-camera" onClick={() => { act('camera.off', { target: member, on: !participant.camera_off }); }} />}
          <Key bare icon="drop" text={t.drop} testid="chair-drop" onClick={() => { act('venue.drop', { target: member }); }} />
        </span>
      )}
    </li>
  );
}

/** A telephone that rings, or did not come. */
function Calling({ call }: { call: PhoneCall }): JSX.Element {
  const t = texts.value.meeting;
  const rings = call.state === 'calling' || call.state === 'ringing';
  const state = call.state === 'ringing' ? t.callRinging : call.state === 'calling' ? t.callCalling : (t.callReasons[call.reason] ?? call.reason) || t.callFailed;
  return (
    <li class="chair-venue absent" data-testid="chair-calling" data-number={call.number} data-state={call.state}>
      <span class="picture"><Icon name={rings ? 'call' : 'phone-off'} /></span>
      <strong>{call.name === '' ? call.number : `${call.name} ${call.number}`}</strong>
      <span class="muted" role="status">{state}</span>
      {rings && <span class="venue-keys"><Key bare icon="phone-off" text={t.callCancel} testid="chair-call-cancel" onClick={() => { act('phone.cancel', { target: call.id }); }} /></span>}
    </li>
  );
}

/** Calls a telephone into the meeting. */
function CallPhone(): JSX.Element {
  const t = texts.value.meeting;
  const [phone, setPhone] = useState('');
  const number = phone.replace(/[\s()-]/gu, '');
  return (
    <form
      class="call-phone"
      onSubmit={(event) => {
        event.preventDefault();
        if (number === '') return;
        act('phone.call', { text: number });
        setPhone('');
      }}
    >
      <label for="call-phone" class="visually-hidden">{t.callPhone}</label>
      <input id="call-phone" class="input" type="tel" inputMode="tel" autoComplete="off" maxLength={32} placeholder={t.callNumber} value={phone} disabled={!leads.value} onInput={(event) => { setPhone(event.currentTarget.value); }} data-testid="chair-call-number" />
      <button type="submit" class="button" disabled={!leads.value || number === ''} data-testid="chair-call"><Icon name="phone" />{t.call}</button>
    </form>
  );
}
