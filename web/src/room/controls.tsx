import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { texts } from '../i18n';
import { Icon, type IconName } from '../ui/icon';
import { say } from '../ui/toast';
import { camera, microphone, stream } from './devices';
import { layouts } from '../features/meeting/layout';
import { panel } from './lead';
import { conference, leave } from './room';
import { ownLayout } from './stage';
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

function Control({ icon, text, onClick, pressed, tone, testid, disabled = false, first = false, aside = false }: {
  icon: IconName; text: string; onClick: () => void; pressed?: boolean; tone?: 'off' | 'leave' | 'on'; testid: string; disabled?: boolean; first?: boolean; aside?: boolean;
}): JSX.Element {
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (first) button.current?.focus({ preventScroll: true });
  }, [first]);
  return (
    <button type="button" ref={button} class={`control ${tone ?? ''}${aside ? ' aside' : ''}`} title={aside ? text : undefined} aria-pressed={pressed} disabled={disabled} onClick={onClick} data-testid={testid}>
      <Icon name={icon} />
      <span>{text}</span>
    </button>
  );
}

export function Controls(): JSX.Element {
  const t = texts.value.room.controls;
  const { audio, video } = conference.muted.value;
  const m = texts.value.meeting;
  const meeting = conference.meeting.value;
  const own = conference.participants.value.find((participant) => participant.id === conference.self.value);
  const byChair = own?.chair_muted === true;
  const mayUnmute = meeting !== null && meeting.may_unmute && meeting.floor === '';
  const raised = meeting?.requests.some((request) => request.member === meeting.you.member) === true;
  const layout = ownLayout.value ?? meeting?.layout ?? '';
  const sharing = conference.content.value !== null;
  useAwake();
  return (
    <div class={`controls${awake.value ? '' : ' asleep'}`} role="toolbar" aria-label={t.bar}>
      <Self />
      <div class="controls-middle">
        <Control
          first icon={audio || byChair ? 'mic-off' : 'mic'} text={byChair && !mayUnmute ? m.mutedButton : audio || byChair ? t.unmuteAudio : t.muteAudio} pressed={audio || byChair} tone={audio || byChair ? 'off' : 'on'}
          disabled={microphone.value !== 'ok' || (byChair && !mayUnmute)} testid="room-mute-audio" onClick={() => { conference.setMuted('audio', byChair ? false : !audio); }}
        />
        <Control
          icon={video ? 'video-off' : 'video'} text={video ? t.unmuteVideo : t.muteVideo} pressed={video} tone={video ? 'off' : 'on'} disabled={camera.value !== 'ok'} testid="room-mute-video"
          onClick={() => { conference.setMuted('video', !video); }}
        />
        {meeting !== null && !meeting.you.chair && meeting.floor !== meeting.you.member && (
          <Control icon="hand" text={raised ? m.lower : m.raise} pressed={raised} tone={raised ? 'off' : 'on'} testid="room-hand" onClick={() => { conference.act(raised ? 'floor.withdraw' : 'floor.request'); }} />
        )}
        {'getDisplayMedia' in navigator.mediaDevices && (
          <Control icon={sharing ? 'share-off' : 'share'} text={sharing ? t.stopShare : t.share} pressed={sharing} tone={sharing ? 'off' : 'on'} aside testid="room-share" onClick={() => void share()} disabled={meeting !== null && meeting.content_locked && !meeting.you.chair && meeting.presenter !== meeting.you.member} />
        )}
        {meeting !== null && !meeting.forced && (
          <Control icon="layout" text={m.layouts[layout]} tone="on" aside testid="room-layout" onClick={() => { ownLayout.value = layouts[(layouts.indexOf(layout) + 1) % (layouts.length - 1)] ?? ''; }} />
        )}
        {meeting !== null && <Control icon="chat" text={m.chat} pressed={panel.value === 'chat'} tone="on" aside testid="room-chat" onClick={() => { panel.value = panel.value === 'chat' ? '' : 'chat'; }} />}
        {meeting !== null && meeting.you.chair && <Control icon="chair" text={m.lead} pressed={panel.value === 'lead'} tone="on" testid="room-lead" onClick={() => { panel.value = panel.value === 'lead' ? '' : 'lead'; }} />}
        {meeting !== null && meeting.you.may_chair && (meeting.chair === '' || !meeting.chair_present) && <Control icon="chair" text={m.requestChair} tone="on" testid="room-request-chair" onClick={() => { conference.act('chair.request'); }} />}
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
