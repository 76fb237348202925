import type { JSX } from 'preact';
import { formatClock, nameOf, texts } from '../i18n';
import { now } from '../ui/clock';
import { Icon, type IconName } from '../ui/icon';
import { Controls } from './controls';
import { camera, microphone } from './devices';
import { conference, number, roomName, venueName } from './room';
import { Voices } from './sound';
import { Stage } from './stage';

export function Meeting(): JSX.Element {
  return (
    <div class="meeting">
      <Bar />
      <Notes />
      <Stage />
      <Controls />
      <Voices />
    </div>
  );
}

function Bar(): JSX.Element {
  const t = texts.value.room;
  const line = conference.line.value;
  const phase = conference.phase.value;
  return (
    <header class="bar">
      <strong class="bar-room">{roomName.value || number}</strong>
      {venueName.value !== null && <span class="bar-venue">{nameOf(venueName.value)}</span>}
      <span class="bar-space" />
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
