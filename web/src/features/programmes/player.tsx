import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { programmePart } from '../../api/http';
import type { ProgrammeDetails } from '../../api/types';
import { formatDuration, texts } from '../../i18n';
import { Icon } from '../../ui/icon';
import { at, stretches } from './timeline';

/** How far sound and picture may be apart before the sound is set right. */
const apart = 0.12;

/** All parts of a recording as one programme: the picture of a part beside its mixed sound, one part after the other. */
export function Player({ details, seek }: { details: ProgrammeDetails; seek: { second: number; turn: number } | null }): JSX.Element {
  const t = texts.value.programmes;
  const list = stretches(details.files);
  const picture = useRef<HTMLVideoElement>(null);
  const sound = useRef<HTMLAudioElement>(null);
  const [part, setPart] = useState(list[0]?.number ?? 0);
  const [second, setSecond] = useState(list[0]?.from ?? 0);
  const [playing, setPlaying] = useState(false);
  const pending = useRef(0);
  const now = list.find((one) => one.number === part);
  const end = list.at(-1)?.to ?? 0;

  const go = (to: number): void => {
    const found = at(list, to);
    if (found === null) {
      setPlaying(false);
      return;
    }
    pending.current = found.inside;
    setSecond(found.stretch.from + found.inside);
    if (found.stretch.number === part) place();
    else setPart(found.stretch.number);
  };
  const place = (): void => {
    for (const element of [picture.current, sound.current]) {
      if (element !== null && element.readyState > 0) element.currentTime = pending.current;
    }
  };
  useEffect(() => {
    if (seek !== null) {
      go(seek.second);
      setPlaying(true);
    }
  }, [seek?.turn]);
  useEffect(() => {
    for (const element of [picture.current, sound.current]) {
      if (element === null) continue;
      if (playing) element.play().catch(() => { setPlaying(false); });
      else element.pause();
    }
  }, [playing, part]);

  if (now === undefined) return <p class="muted" data-testid="programme-not-yet">{t.notYet}</p>;
  const lead = now.video ? picture : sound;
  const tick = (): void => {
    const element = lead.current;
    if (element === null) return;
    setSecond(now.from + element.currentTime);
    const other = now.video ? sound.current : null;
    if (other !== null && !other.seeking && Math.abs(other.currentTime - element.currentTime) > apart) other.currentTime = element.currentTime;
  };
  const ended = (): void => {
    const next = list.find((one) => one.from >= now.to - 0.001 && one.number !== now.number);
    if (next === undefined) setPlaying(false);
    else go(next.from);
  };
  return (
    <div class="player" data-testid="programme-player" data-part={part} data-playing={playing}>
      <div class="player-stage">
        {now.video && (
          <video key={`v${String(part)}`} ref={picture} muted playsInline preload="auto" src={programmePart(details.id, part, 'file')} onLoadedMetadata={place} onTimeUpdate={tick} onEnded={ended} onClick={() => { setPlaying(!playing); }} data-testid="programme-video" />
        )}
        <audio key={`a${String(part)}`} ref={sound} preload="auto" src={programmePart(details.id, part, 'sound')} onLoadedMetadata={place} onTimeUpdate={now.video ? undefined : tick} onEnded={now.video ? undefined : ended} data-testid="programme-sound" />
      </div>
      <div class="player-keys">
        <button type="button" class="button" onClick={() => { setPlaying(!playing); }} data-testid="programme-play"><Icon name={playing ? 'pause' : 'play'} />{playing ? t.pause : t.play}</button>
        <input type="range" min={0} max={end} step={0.1} value={second} aria-label={t.position} data-testid="programme-position" onInput={(event) => { go(event.currentTarget.valueAsNumber); }} />
        <span class="player-time">{formatDuration(second)} / {formatDuration(end)}</span>
      </div>
    </div>
  );
}
