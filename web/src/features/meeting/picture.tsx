import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { nameOf } from '../../i18n';
import type { Conference } from '../../rtc/conference';
import type { Participant } from '../../rtc/protocol';
import { Icon } from '../../ui/icon';

/** A participant's camera, small, with an icon while there is none. */
export function Picture({ conference, participant, large = false, testid }: { conference: Conference; participant: Participant; large?: boolean; testid?: string }): JSX.Element {
  void conference.revision.value;
  const element = useRef<HTMLVideoElement>(null);
  const [flowing, setFlow] = useState(false);
  const slot = conference.slots.value.picture(participant.id, 'camera');
  const stream = conference.picture(participant.id, 'camera');
  const visible = stream !== undefined && slot !== undefined && slot.rid !== '' && !participant.video_muted;
  useEffect(() => {
    const video = element.current;
    if (video === null) return;
    if (video.srcObject !== (stream ?? null)) {
      setFlow(false);
      video.srcObject = stream ?? null;
    }
    if (stream !== undefined) video.play().catch(() => undefined);
  }, [stream]);
  return (
    <span class={`picture${large ? ' large' : ''}`} data-testid={testid} data-participant={participant.id} data-member={participant.member} data-picture={visible || flowing}>
      <video ref={element} autoplay muted playsinline disablePictureInPicture hidden={participant.video_muted || stream === undefined} aria-label={nameOf(participant.name)} onPlaying={() => { setFlow(true); }} />
      {(participant.video_muted || stream === undefined) && <Icon name={participant.kind === 'phone' ? 'phone' : 'video-off'} />}
    </span>
  );
}
