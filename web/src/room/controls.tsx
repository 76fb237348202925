import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { texts } from '../i18n';
import { Icon, type IconName } from '../ui/icon';
import { say } from '../ui/toast';
import { camera, microphone, stream } from './devices';
import { conference, leave } from './room';
import { Video } from './video';

const awake = signal(true);
const awakeMs = 8000;

/** The bar goes quiet while nobody touches a key; any key, touch or mouse movement brings it back. */
function useAwake(): void {
  useEffect(() => {
    let timer = setTimeout(() => { awake.value = false; }, awakeMs);
    const wake = (): void => {
      awake.value = true;
      clearTimeout(timer);
      timer = setTimeout(() => { awake.value = false; }, awakeMs);
    };
    const events = ['keydown', 'pointermove', 'pointerdown', 'focusin'] as const;
    for (const name of events) addEventListener(name, wake);
    return () => {
      clearTimeout(timer);
      for (const name of events) removeEventListener(name, wake);
    };
  }, []);
}

async function share(): Promise<void> {
  if (conference.content.value !== null) {
    await conference.stopSharing();
    return;
  }
  try {
    const screen = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 10, max: 15 } }, audio: false });
    const track = screen.getVideoTracks()[0];
    if (track !== undefined) await conference.share(track);
  } catch {
    say(texts.value.room.shareFailed, false);
  }
}

function Control({ icon, text, onClick, pressed, tone, testid, disabled = false, first = false }: {
  icon: IconName; text: string; onClick: () => void; pressed?: boolean; tone?: 'off' | 'leave' | 'on'; testid: string; disabled?: boolean; first?: boolean;
}): JSX.Element {
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (first) button.current?.focus({ preventScroll: true });
  }, [first]);
  return (
    <button type="button" ref={button} class={`control ${tone ?? ''}`} aria-pressed={pressed} disabled={disabled} onClick={onClick} data-testid={testid}>
      <Icon name={icon} />
      <span>{text}</span>
    </button>
  );
}

export function Controls(): JSX.Element {
  const t = texts.value.room.controls;
  const { audio, video } = conference.muted.value;
  const sharing = conference.content.value !== null;
  useAwake();
  return (
    <div class={`controls${awake.value ? '' : ' asleep'}`} role="toolbar" aria-label={t.bar}>
      <Self />
      <div class="controls-middle">
        <Control
          first icon={audio ? 'mic-off' : 'mic'} text={audio ? t.unmuteAudio : t.muteAudio} pressed={audio} tone={audio ? 'off' : 'on'} disabled={microphone.value !== 'ok'} testid="room-mute-audio"
          onClick={() => { conference.setMuted('audio', !audio); }}
        />
        <Control
          icon={video ? 'video-off' : 'video'} text={video ? t.unmuteVideo : t.muteVideo} pressed={video} tone={video ? 'off' : 'on'} disabled={camera.value !== 'ok'} testid="room-mute-video"
          onClick={() => { conference.setMuted('video', !video); }}
        />
        {'getDisplayMedia' in navigator.mediaDevices && (
          <Control icon={sharing ? 'share-off' : 'share'} text={sharing ? t.stopShare : t.share} pressed={sharing} tone={sharing ? 'off' : 'on'} testid="room-share" onClick={() => void share()} />
        )}
      </div>
      <Control icon="phone-off" text={t.leave} tone="leave" testid="room-leave" onClick={leave} />
    </div>
  );
}

/** The own picture, small and mirrored, as one sees oneself. */
function Self(): JSX.Element {
  const t = texts.value.room;
  const off = conference.muted.value.video || camera.value !== 'ok';
  return (
    <figure class="self" data-testid="room-self">
      {off
        ? <span class="self-off"><Icon name="video-off" /></span>
        : <Video stream={stream.value ?? undefined} class="self-video" mirrored testid="room-self-video" />}
      <figcaption>
        {conference.muted.value.audio && <Icon name="mic-off" />}
        {t.me}
      </figcaption>
    </figure>
  );
}
