import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { formatDuration, formatMoment, nameOf, texts } from '../i18n';
import type { StandbyMessage } from '../rtc/protocol';
import { now } from '../ui/clock';
import { Icon } from '../ui/icon';
import { join, standby } from './room';

/** Seconds before a planned meeting from which the time that is left is counted. */
const countdown = 3600;

/** What goes on in this room and what comes, one line each. */
export function Coming(): JSX.Element | null {
  const t = texts.value.meeting.standby;
  const told = standby.told.value;
  if (told === null) return null;
  const left = (told.next_at - now.value) / 1000;
  return (
    <div class="coming" data-testid="room-coming" data-meeting={told.meeting} data-next={told.next_at}>
      <p><Icon name={told.meeting === '' ? 'check' : 'air'} />{told.meeting === '' ? t.idle : t.on(told.title, told.present)}</p>
      {told.next_at > 0 && (
        <p>
          <Icon name="calendar" />
          <span>{t.next(formatMoment(new Date(told.next_at)), told.next_title)}{left < countdown && left > 0 && <strong> {t.starts(formatDuration(left))}</strong>}</span>
        </p>
      )}
    </div>
  );
}

/** The venue is called: two big buttons and a tone, and the join is the one that Enter presses. */
export function Ringing({ told }: { told: StandbyMessage }): JSX.Element {
  const t = texts.value.meeting.standby;
  const button = useRef<HTMLButtonElement>(null);
  const by = nameOf(told.called_by);
  useEffect(() => button.current?.focus(), []);
  useEffect(ring, []);
  return (
    <section class="ringing" role="alert" data-testid="room-ringing">
      <Icon name="call" />
      <h1>{by === '' ? t.scheduled : t.calls(by)}</h1>
      {told.title !== '' && <p>{told.title}</p>}
      <div class="ringing-keys">
        <button type="button" class="join" ref={button} onClick={() => { join(); }} data-testid="room-answer"><Icon name="video" />{t.answer}</button>
        <button type="button" class="second" onClick={() => { standby.decline(); }} data-testid="room-decline">{t.decline}</button>
      </div>
    </section>
  );
}

const toneEveryMs = 2500;

/** Two soft tones, again and again; silent where the browser plays nothing without a key press. */
function ring(): () => void {
  const context = new AudioContext();
  const tone = (): void => {
    for (const [index, frequency] of [660, 880].entries()) {
      const [source, gain] = [context.createOscillator(), context.createGain()];
      const at = context.currentTime + index * 0.28;
      source.frequency.value = frequency;
      gain.gain.setValueAtTime(0.0001, at);
      gain.gain.exponentialRampToValueAtTime(0.2, at + 0.03);
      gain.gain.exponentialRampToValueAtTime(0.0001, at + 0.26);
      source.connect(gain).connect(context.destination);
      source.start(at);
      source.stop(at + 0.27);
    }
  };
  tone();
  const timer = setInterval(tone, toneEveryMs);
  return () => {
    clearInterval(timer);
    void context.close();
  };
}
