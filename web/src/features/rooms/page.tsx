import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { roomLink } from '../../api/http';
import { topics } from '../../api/live';
import type { Room, RoomParticipant, Venue } from '../../api/types';
import { formatDecimal, formatRate, formatSpan, nameOf, texts } from '../../i18n';
import { Badge } from '../../ui/badge';
import { secondsSince } from '../../ui/clock';
import { Empty } from '../../ui/empty';
import { Icon } from '../../ui/icon';
import { say } from '../../ui/toast';
import { siteName } from '../lines/sites';

/** A link that could not be put on the clipboard, to be copied by hand. */
const byHand = signal<{ room: string; venue: string; url: string } | null>(null);

async function copyLink(room: Room, venue: Venue): Promise<void> {
  const t = texts.value.rooms;
  try {
    const { url } = await roomLink(room.number, venue.id);
    try {
      await navigator.clipboard.writeText(url);
      say(t.copied(nameOf(venue.name)));
    } catch {
      byHand.value = { room: room.number, venue: venue.id, url };
    }
  } catch {
    say(t.linkFailed, false);
  }
}

export function Rooms(): JSX.Element {
  const t = texts.value.rooms;
  const rooms = topics.rooms.value?.rooms ?? null;
  if (rooms === null) return <div class="panel" aria-busy="true" />;
  if (rooms.length === 0) return <div class="panel"><Empty icon="video" title={t.empty} hint={t.emptyHint} /></div>;
  return (
    <div class="rooms" data-testid="rooms">
      <p class="muted rooms-hint"><Icon name="info" /> {t.linkHint}</p>
      {rooms.map((room) => <RoomCard key={room.number} room={room} />)}
    </div>
  );
}

function RoomCard({ room }: { room: Room }): JSX.Element {
  const t = texts.value.rooms;
  const venues = room.venues ?? [];
  const participants = room.participants ?? [];
  const others = participants.filter((participant) => !venues.some((venue) => venue.id === participant.venue));
  return (
    <section class="panel room-card" data-testid={`room-card-${room.number}`} data-state={room.state}>
      <div class="panel-head">
        <h2>{room.name} <span class="muted">{room.number}</span></h2>
        {participants.length > 0
          ? <Badge tone="busy" icon="video">{t.open}{room.opened_at === null ? '' : ` · ${t.since(formatSpan(secondsSince(room.opened_at)))}`}</Badge>
          : <Badge tone="muted">{t.idle}</Badge>}
        <a class="button small" href={`/chair/${encodeURIComponent(room.number)}`} target="_blank" rel="noopener" data-testid={`chair-link-${room.number}`}><Icon name="chair" />{texts.value.meeting.open}</a>
        <a class="button small" href={`/room/${encodeURIComponent(room.number)}`} target="_blank" rel="noopener">{t.enter}</a>
      </div>
      {venues.length === 0 && <p class="muted room-none">{t.noVenues}</p>}
      <ul class="venues">
        {venues.map((venue) => (
          <VenueRow key={venue.id} room={room} venue={venue} participant={participants.find((participant) => participant.venue === venue.id)} />
        ))}
      </ul>
      {others.length > 0 && (
        <>
          <h3 class="room-others muted small">{t.others}</h3>
          <ul class="venues">
            {others.map((participant) => (
              <li class="venue" key={participant.id}>
                <Icon name={participant.kind === 'phone' ? 'phone' : 'users'} class="tone-busy" />
                <span class="venue-name"><strong>{nameOf(participant.name)}</strong><small class="muted">{t.kinds[participant.kind]} · {siteName(participant.site)}</small></span>
                <Facts participant={participant} />
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

function VenueRow({ room, venue, participant }: { room: Room; venue: Venue; participant: RoomParticipant | undefined }): JSX.Element {
  const t = texts.value.rooms;
  const manual = byHand.value;
  return (
    <li class="venue" data-testid={`venue-${room.number}-${venue.id}`} data-present={venue.present}>
      <Icon name={venue.present ? 'video' : 'video-off'} class={venue.present ? 'tone-busy' : 'tone-muted'} />
      <span class="venue-name"><strong>{nameOf(venue.name)}</strong><small class="muted">{siteName(venue.site)}</small></span>
      {participant === undefined ? <span class="venue-facts muted">{venue.present ? t.present : t.absent}</span> : <Facts participant={participant} />}
      <button type="button" class="button small" onClick={() => void copyLink(room, venue)} data-testid="venue-copy-link">
        <Icon name="link" />
        {t.copyLink}
      </button>
      {manual?.room === room.number && manual.venue === venue.id && (
        <label class="venue-link">
          <span class="small muted">{t.copyByHand}</span>
          <input
            class="input mono" readOnly value={manual.url} data-testid="venue-link"
            onFocus={(event) => {
              event.currentTarget.select();
            }}
          />
        </label>
      )}
    </li>
  );
}

function Facts({ participant }: { participant: RoomParticipant }): JSX.Element {
  const t = texts.value.rooms;
  return (
    <span class="venue-facts">
      {participant.speaking && <Badge tone="fine" icon="volume">{t.speaking}</Badge>}
      {participant.audio_muted && <Badge tone="muted" icon="mic-off">{t.muted}</Badge>}
      {participant.video_muted && <Badge tone="muted" icon="video-off">{t.cameraOff}</Badge>}
      {participant.has_content && <Badge tone="busy" icon="share">{t.sharing}</Badge>}
      <span class="muted small" title={t.sends}><Icon name="up" />{formatRate(participant.publish_bps)}</span>
      <span class="muted small" title={t.receives}><Icon name="down" />{formatRate(participant.subscribe_bps)}</span>
      <span class={`small ${participant.loss_percent >= 2 ? 'tone-warning' : 'muted'}`}>{t.loss} {formatDecimal(participant.loss_percent)} %</span>
      {participant.rtt_ms !== null && <span class="muted small">{t.rtt} {formatDecimal(participant.rtt_ms)} ms</span>}
    </span>
  );
}
