import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { texts } from '../i18n';
import type { Participant } from '../rtc/protocol';
import { type Tile as WantedTile, viewsOf } from '../rtc/want';
import { Icon } from '../ui/icon';
import { useSize } from '../ui/size';
import { gridOf } from './layout';
import { conference } from './room';
import { Tile } from './tile';

const gap = 8;
const most = 9;

/** Who is shown, in the order of joining; speakers come first only if not all fit, so that nothing jumps. */
function shown(participants: readonly Participant[], self: string, speaking: readonly string[]): Participant[] {
  const others = participants.filter((participant) => participant.id !== self);
  others.sort((a, b) => a.joined_at.localeCompare(b.joined_at) || a.id.localeCompare(b.id));
  if (others.length <= most) return others;
  return [...others].sort((a, b) => Number(speaking.includes(b.id)) - Number(speaking.includes(a.id))).slice(0, most);
}

interface Placed {
  participant: Participant;
  media: 'camera' | 'content';
  size: { width: number; height: number };
}

/** A grid of equal tiles; with shared content, the content large and the venues beside it (below it on narrow screens). */
function place(people: readonly Participant[], content: Participant | undefined, width: number, height: number): { big: Placed | null; small: Placed[]; columns: number } {
  if (content === undefined) {
    const grid = gridOf(people.length, width, height, gap);
    return { big: null, small: people.map((participant) => ({ participant, media: 'camera', size: grid })), columns: grid.columns };
  }
  const wide = width > height;
  const strip = wide ? Math.min(width * 0.22, 420) : width;
  const bigWidth = wide ? width - (people.length > 0 ? strip + gap : 0) : width;
  const bigHeight = wide ? height : height * 0.5;
  const grid = wide ? stripOf(people.length, strip, height) : gridOf(people.length, width, height - bigHeight - gap, gap);
  return {
    big: { participant: content, media: 'content', size: { width: Math.floor(bigWidth), height: Math.floor(bigHeight) } },
    small: people.map((participant) => ({ participant, media: 'camera', size: grid })),
    columns: wide ? 1 : grid.columns,
  };
}

function stripOf(count: number, width: number, height: number): { width: number; height: number; columns: number } {
  const tall = Math.min((width * 9) / 16, (height - gap * (count - 1)) / Math.max(1, count));
  return { width: Math.floor((tall * 16) / 9), height: Math.floor(tall), columns: 1 };
}

export function Stage(): JSX.Element {
  const t = texts.value.room;
  const [box, size] = useSize<HTMLDivElement>();
  const participants = conference.participants.value;
  const people = shown(participants, conference.self.value, conference.speaking.value);
  const content = participants.find((participant) => participant.has_content && participant.id !== conference.self.value);
  const { big, small, columns } = place(people, content, size.width, size.height);
  const tiles: WantedTile[] = [...(big === null ? [] : [big]), ...small].map((tile) => ({ participant: tile.participant.id, media: tile.media, height: tile.size.height }));
  const wanted = JSON.stringify(tiles);
  useEffect(() => {
    conference.setViews(viewsOf(JSON.parse(wanted) as WantedTile[], devicePixelRatio));
  }, [wanted]);
  return (
    <div class={`stage${big === null ? '' : ' with-content'}`} ref={box} data-testid="room-stage" data-tiles={people.length}>
      {people.length === 0 && big === null && (
        <div class="alone" data-testid="room-alone">
          <Icon name="users" />
          <h2>{t.alone}</h2>
          <p>{t.aloneHint}</p>
        </div>
      )}
      {big !== null && <Tile key={`content:${big.participant.id}`} participant={big.participant} media="content" size={big.size} />}
      <div class="grid" style={{ width: `${String(columns * (small[0]?.size.width ?? 0) + gap * (columns - 1))}px` }}>
        {small.map((tile) => <Tile key={tile.participant.id} participant={tile.participant} media="camera" size={tile.size} />)}
      </div>
    </div>
  );
}
