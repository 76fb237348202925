import type { JSX } from 'preact';
import { nameOf, texts } from '../i18n';
import type { Participant, Picture } from '../rtc/protocol';
import { Icon, type IconName } from '../ui/icon';
import { conference } from './room';
import { useFlow, Video } from './video';

/** Why there is no picture, or null if there is one. */
function absence(participant: Participant, media: Picture, flowing: boolean): { icon: IconName; text: string } | null {
  const t = texts.value.room.picture;
  if (participant.kind === 'phone') return { icon: 'phone', text: t.phone };
  const slot = conference.slots.value.picture(participant.id, media);
  if (media === 'camera') {
    if (participant.video_muted) return { icon: 'video-off', text: t.muted };
    if (!participant.has_video && slot === undefined) return { icon: 'camera-off', text: t.none };
  }
  if (slot?.reason === 'line' && slot.rid === '') return { icon: 'activity', text: t.line };
  if (slot?.reason === 'codec') return { icon: 'video-off', text: t.codec };
  return flowing ? null : { icon: 'loader', text: t.waiting };
}

export function Tile({ participant, media, size }: {
  participant: Participant; media: Picture; size: { width: number; height: number };
}): JSX.Element {
  void conference.revision.value;
  const t = texts.value.room;
  const stream = conference.picture(participant.id, media);
  const [flowing, setFlow] = useFlow(stream);
  const missing = absence(participant, media, flowing);
  const still = media === 'camera' && conference.slots.value.picture(participant.id, media)?.rid === '' ? conference.stills.value.get(participant.id) : undefined;
  const speaking = conference.speaking.value.includes(participant.id) && !participant.audio_muted;
  const name = nameOf(participant.name);
  return (
    <figure
      class={`tile ${media}${speaking ? ' speaking' : ''}`} data-testid={media === 'camera' ? 'room-tile' : 'room-content'} data-participant={participant.id} data-venue={participant.venue ?? ''}
      data-speaking={speaking} data-picture={missing === null} data-still={missing !== null && still !== undefined} style={{ width: `${String(size.width)}px`, height: `${String(size.height)}px` }}
    >
      <Video stream={stream} class="tile-video" testid="room-video" onFlow={setFlow} />
      {missing !== null && still !== undefined && (
        <>
          <img class="tile-still" src={still} alt={t.picture.still(name)} data-testid="room-still" />
          <p class="tile-still-note"><Icon name="activity" />{t.picture.stillNote}</p>
        </>
      )}
      {missing !== null && still === undefined && (
        <div class="tile-missing">
          <Icon name={missing.icon} class={missing.icon === 'loader' ? 'spin' : ''} />
          <strong>{name}</strong>
          <span>{missing.text}</span>
        </div>
      )}
      <figcaption class="tile-name">
        <span class="speaking-bars" aria-hidden="true"><i /><i /><i /></span>
        <span class="tile-text">{media === 'content' ? t.shares(name) : name}</span>
        {participant.kind === 'phone' && missing === null && <Icon name="phone" />}
        {participant.audio_muted && media === 'camera' && <span class="tile-muted" data-testid="room-muted-mark"><Icon name="mic-off" /><span class="visually-hidden">{t.mutedMark}</span></span>}
        {speaking && <span class="visually-hidden">{t.speakingMark}</span>}
      </figcaption>
    </figure>
  );
}
