import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { LanguageButton } from '../features/shell/controls';
import { formatClock, nameOf, texts } from '../i18n';
import { now } from '../ui/clock';
import { Icon } from '../ui/icon';
import { camera, microphone, stream } from './devices';
import { level, measure } from './level';
import { join, number, roomName, venueName } from './room';
import { Coming } from './standby';
import { Video } from './video';

/** Before the meeting: oneself, the microphone's level, one big button. */
export function Prejoin(): JSX.Element {
  const t = texts.value.room;
  const button = useRef<HTMLButtonElement>(null);
  const current = stream.value;
  useEffect(() => button.current?.focus(), []);
  useEffect(() => (current === null ? undefined : measure(current)), [current]);
  const seen = camera.value === 'ok';
  const heard = microphone.value === 'ok';
  return (
    <main class="prejoin" data-testid="room-prejoin">
      <figure class="prejoin-view">
        {seen
          ? <Video stream={current ?? undefined} class="self-video" mirrored testid="room-self-video" />
          : <span class="self-off"><Icon name="camera-off" /></span>}
      </figure>
      <div class="prejoin-side">
        <p class="prejoin-time">{formatClock(new Date(now.value))}</p>
        <h1>{roomName.value || t.title}</h1>
        <p class="prejoin-venue">{venueName.value === null ? number : `${nameOf(venueName.value)} · ${number}`}</p>
        <Coming />
        <p class={`prejoin-ready ${seen && heard ? 'fine' : 'warning'}`} data-testid="room-ready">
          <Icon name={seen && heard ? 'check' : 'warning'} />
          {seen && heard ? t.ready : heard ? t.readyNoCamera : seen ? t.readyNoMicrophone : t.readyNothing}
        </p>
        {heard && (
          <div class="mic">
            <Icon name="mic" />
            <meter class="mic-meter" min={0} max={1} value={level.value} aria-label={t.micLevel} data-testid="room-mic-level" />
            <span class="mic-hint">{t.micQuiet}</span>
          </div>
        )}
        <button type="button" class="join" ref={button} onClick={() => { join(); }} data-testid="room-join">
          <Icon name="video" />
          {t.join}
        </button>
        <p class="prejoin-keys">{t.keys}<LanguageButton /></p>
      </div>
    </main>
  );
}
