import type { JSX } from 'preact';
import { formatClock, formatDuration, nameOf, texts } from '../i18n';
import { now } from '../ui/clock';
import { Icon, type IconName } from '../ui/icon';
import { Controls } from './controls';
import { camera, microphone } from './devices';
import { conference, number, roomName, venueName } from './room';
import { Voices } from './sound';
import { Panel } from './lead';
import { Banner, Orders } from './orders';
import { Stage } from './stage';

/** Seconds before its end at which everybody is warned. */
const endsSoon = 300;

export function Meeting(): JSX.Element {
  return (
    <div class="meeting">
      <Bar />
      <Banner />
      <Notes />
      <div class="middle">
        <Stage />
        <Panel />
      </div>
      <Controls />
      <Orders />
      <Voices />
    </div>
  );
}

function Bar(): JSX.Element {
  const t = texts.value.room;
  const line = conference.line.value;
  const phase = conference.phase.value;
  const meeting = conference.meeting.value;
  const m = texts.value.meeting;
  const left = meeting === null || meeting.ends_at === null ? null : (Date.parse(meeting.ends_at) - now.value) / 1000;
  return (
    <header class="bar">
      <strong class="bar-room" data-testid="room-title">{meeting !== null && meeting.title !== '' ? meeting.title : roomName.value || number}</strong>
      {venueName.value !== null && <span class="bar-venue">{nameOf(venueName.value)}</span>}
      {meeting !== null && (
        <span class="bar-chair" data-testid="room-chair" data-chair={meeting.chair}>
          <Icon name="chair" />
          {meeting.chair_name === null ? m.noChair : `${m.chairIs(nameOf(meeting.chair_name))}${meeting.chair_present ? '' : ` (${m.chairAway})`}`}
        </span>
      )}
      {meeting !== null && meeting.recording !== null && (
        <span class="bar-recording" role="status" data-testid="room-recording"><Icon name="record" />{m.recording}</span>
      )}
      <span class="bar-space" />
      {left !== null && <span class={`bar-left${left < 600 ? ' soon' : ''}`} data-testid="room-left"><Icon name="clock" />{m.endsIn(formatDuration(left))}</span>}
      {phase === 'in' && line !== null && (
        <span class={`bar-line ${line.state}`} data-testid="room-line" data-line={line.state}>
          <Icon name={line.state === 'good' || line.state === 'none' ? 'check' : 'warning'} />
          {t.line[line.state]}
        </span>
      )}
      <span class="bar-count"><Icon name="users" />{t.participants(conference.participants.value.length)}</span>
      <time class="bar-time" dateTime={new Date(now.value).toISOString()}>{formatClock(new Date(now.value))}</time>
    </header>
  );
}

/** How long everybody is told in words that the recording has begun; the sign in the bar stays. */
const recordingNoteMs = 15_000;

/** What is not as it should be, in words, one line each; nothing here asks for a key. */
function Notes(): JSX.Element {
  const t = texts.value.room;
  const notes: { id: string; icon: IconName; text: string; hint?: string; tone: 'warning' | 'busy' }[] = [];
  const phase = conference.phase.value;
  if (phase === 'reconnecting' || phase === 'joining') {
    const attempt = conference.attempts.value;
    notes.push({
      id: 'reconnecting', icon: 'refresh', tone: 'warning',
      text: phase === 'joining' ? t.joining : conference.trouble.value === 'restart' ? t.restarting : t.reconnecting,
      hint: phase === 'joining' ? '' : `${t.reconnectingHint(number)}${attempt > 2 ? ` ${t.attempt(attempt)}` : ''}`,
    });
  }
  const line = conference.line.value;
  if (phase === 'in' && (line?.state === 'tight' || line?.state === 'congested')) notes.push({ id: 'line', icon: 'activity', tone: 'warning', text: t.lineNote[line.state] });
  if (camera.value === 'taken' || camera.value === 'lost') notes.push({ id: 'camera', icon: 'camera-off', tone: 'warning', text: camera.value === 'taken' ? t.cameraTaken : t.cameraLost });
  if (microphone.value === 'taken' || microphone.value === 'lost') {
    notes.push({ id: 'microphone', icon: 'mic-off', tone: 'warning', text: microphone.value === 'taken' ? t.microphoneTaken : t.microphoneLost });
  }
  const meeting = conference.meeting.value;
  const own = conference.participants.value.find((participant) => participant.id === conference.self.value);
  if (meeting !== null && phase === 'in') {
    const m = texts.value.meeting;
    const left = meeting.ends_at === null ? Infinity : (Date.parse(meeting.ends_at) - now.value) / 1000;
    if (left < endsSoon) notes.push({ id: 'ends', icon: 'clock', tone: 'warning', text: m.endsSoon(formatDuration(left)), hint: meeting.you.chair ? m.endsSoonChair : '' });
    const place = meeting.requests.findIndex((request) => request.member === meeting.you.member);
    if (own?.chair_muted === true) notes.push({ id: 'muted', icon: 'mic-off', tone: 'warning', text: m.mutedByChair, hint: meeting.may_unmute && meeting.floor === '' ? m.mayUnmute : '' });
    if (own?.camera_off === true) notes.push({ id: 'camera-off', icon: 'video-off', tone: 'warning', text: m.cameraByChair });
    if (meeting.recording !== null && now.value - Date.parse(meeting.recording.since) < recordingNoteMs) notes.push({ id: 'recording', icon: 'record', tone: 'warning', text: m.recordingNote, hint: m.recordingBy(nameOf(meeting.recording.by_name)) });
    if (place >= 0) notes.push({ id: 'raised', icon: 'hand', tone: 'busy', text: m.raised(place + 1) });
    if (meeting.on_air !== '' && meeting.on_air === meeting.you.member) notes.push({ id: 'on-air', icon: 'air', tone: 'busy', text: m.onAirYou });
  }
  if (conference.content.value !== null) notes.push({ id: 'share', icon: 'share', tone: 'busy', text: t.youShare });
  return (
    <div class="notes" role="status" aria-live="polite">
      {notes.map((note) => (
        <p key={note.id} class={`note ${note.tone}`} data-testid={`room-note-${note.id}`}>
          <Icon name={note.icon} class={note.id === 'reconnecting' ? 'spin' : ''} />
          <strong>{note.text}</strong>
          {note.hint !== undefined && note.hint !== '' && <span>{note.hint}</span>}
        </p>
      ))}
    </div>
  );
}
