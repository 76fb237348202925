import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { arrange } from '../features/meeting/layout';
import { texts } from '../i18n';
import type { Layout, Participant } from '../rtc/protocol';
import { type Tile as WantedTile, viewsOf } from '../rtc/want';
import { Icon } from '../ui/icon';
import { useSize } from '../ui/size';
import { camera, stream } from './devices';
import { gridOf } from './layout';
import { conference } from './room';
import { Tile } from './tile';
import { Video } from './video';

const gap = 8;
const most = 9;

/** What this venue chose, as long as the chair does not choose for all; null: as the chair proposes. */
export const ownLayout = signal<Layout | null>(null);

/** Who spoke last: the large picture while the chair has put nobody on air. */
const voice = signal('');

/** Who is shown, in the order of joining; speakers come first only if not all fit, so that nothing jumps. */
function shown(participants: readonly Participant[], self: string, speaking: readonly string[], first: string): Participant[] {
  const others = participants.filter((participant) => participant.id !== self);
  others.sort((a, b) => a.joined_at.localeCompare(b.joined_at) || a.id.localeCompare(b.id));
  if (others.length <= most) return others;
  const rank = (participant: Participant): number => (participant.member === first ? 2 : Number(speaking.includes(participant.id)));
  return [...others].sort((a, b) => rank(b) - rank(a)).slice(0, most);
}

interface Placed {
  participant: Participant;
  media: 'camera' | 'content';
  size: { width: number; height: number };
}

/** A large picture (shared content, or the venue on air) with the others beside it, below it on narrow screens; or a grid of equal tiles. */
function place(big: Omit<Placed, 'size'> | null, people: readonly Participant[], width: number, height: number): { big: Placed | null; small: Placed[]; columns: number } {
  if (big === null) {
    const grid = gridOf(people.length, width, height, gap);
    return { big: null, small: people.map((participant) => ({ participant, media: 'camera', size: grid })), columns: grid.columns };
  }
  const wide = width > height;
  const strip = wide ? Math.min(width * 0.22, 420) : width;
  const roomWidth = wide ? width - (people.length > 0 ? strip + gap : 0) : width;
  const roomHeight = wide || people.length === 0 ? height : height * 0.5;
  const size = big.media === 'content' ? { width: Math.floor(roomWidth), height: Math.floor(roomHeight) } : gridOf(1, roomWidth, roomHeight, gap);
  const grid = wide ? stripOf(people.length, strip, height) : gridOf(people.length, width, height - roomHeight - gap, gap);
  return {
    big: { ...big, size: { width: size.width, height: size.height } },
    small: people.map((participant) => ({ participant, media: 'camera', size: grid })),
    columns: wide ? 1 : grid.columns,
  };
}

function stripOf(count: number, width: number, height: number): { width: number; height: number; columns: number } {
  const tall = Math.min((width * 9) / 16, (height - gap * (count - 1)) / Math.max(1, count));
  return { width: Math.floor((tall * 16) / 9), height: Math.floor(tall), columns: 1 };
}

function useVoice(people: readonly Participant[]): void {
  const speaking = conference.speaking.value.find((id) => people.some((participant) => participant.id === id));
  useEffect(() => {
    if (speaking !== undefined) voice.value = speaking;
  }, [speaking]);
}

export function Stage(): JSX.Element {
  const t = texts.value.room;
  const [box, size] = useSize<HTMLDivElement>();
  const participants = conference.participants.value;
  const meeting = conference.meeting.value;
  const people = shown(participants, conference.self.value, conference.speaking.value, meeting?.on_air ?? '');
  const content = participants.find((participant) => participant.has_content && participant.id !== conference.self.value);
  useVoice(people);
  const layout: Layout = meeting?.forced === true ? meeting.layout : (ownLayout.value ?? meeting?.layout ?? '');
  const { main, others, corner } = arrange(people, meeting, layout, voice.value);
  const beside = content === undefined ? others : main === null ? others : [main, ...others];
  const first = content !== undefined ? { participant: content, media: 'content' as const } : main === null ? null : { participant: main, media: 'camera' as const };
  const { big, small, columns } = place(first, beside, size.width, size.height);
  const tiles: WantedTile[] = [...(big === null ? [] : [big]), ...small].map((tile) => ({ participant: tile.participant.id, media: tile.media, height: tile.size.height }));
  const wanted = JSON.stringify(tiles);
  useEffect(() => {
    conference.setViews(viewsOf(JSON.parse(wanted) as WantedTile[], devicePixelRatio));
  }, [wanted]);
  return (
    <div class={`stage${big === null ? '' : size.width > size.height ? ' with-content wide' : ' with-content tall'}`} ref={box} data-testid="room-stage" data-tiles={people.length} data-layout={layout === '' ? 'auto' : layout} data-main={main?.member ?? ''}>
      {people.length === 0 && big === null && (
        <div class="alone" data-testid="room-alone">
          <Icon name="users" />
          <h2>{t.alone}</h2>
          <p>{t.aloneHint}</p>
        </div>
      )}
      {big !== null && <Tile key={`${big.media}:${big.participant.id}`} participant={big.participant} media={big.media} size={big.size} />}
      {small.length > 0 && (
        <div class="grid" style={{ width: `${String(columns * (small[0]?.size.width ?? 0) + gap * (columns - 1))}px` }}>
          {small.map((tile) => <Tile key={tile.participant.id} participant={tile.participant} media="camera" size={tile.size} />)}
        </div>
      )}
      {corner && !conference.muted.value.video && camera.value === 'ok' && <figure class="corner" style={{ right: `${String(Math.max(0, (size.width - (big?.size.width ?? size.width)) / 2) + 12)}px`, bottom: `${String(Math.max(0, (size.height - (big?.size.height ?? size.height)) / 2) + 12)}px` }}><Video stream={stream.value ?? undefined} class="self-video" mirrored testid="room-corner" /></figure>}
    </div>
  );
}
