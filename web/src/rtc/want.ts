import type { View } from './protocol';

/** What is on the screen, as the page knows it: one entry per tile, the height as laid out. */
export interface Tile {
  participant: string;
  media: View['media'];
  /** CSS pixels; 0 if the tile is not visible. */
  height: number;
}

const step = 45;

/** The list for `want`: device pixels rounded up to steps of 45 lines (so that a pixel of layout is no news), invisible tiles left out. */
export function viewsOf(tiles: readonly Tile[], pixelRatio: number): View[] {
  const tallest = new Map<string, View>();
  for (const tile of tiles) {
    if (tile.height <= 0) continue;
    const height = Math.ceil((tile.height * pixelRatio) / step) * step;
    const name = `${tile.media}:${tile.participant}`;
    const known = tallest.get(name);
    if (known === undefined || known.height < height) tallest.set(name, { participant: tile.participant, media: tile.media, height });
  }
  return [...tallest.values()].sort((a, b) => a.media.localeCompare(b.media) || a.participant.localeCompare(b.participant));
}

/** Sends the newest list once it has been quiet for `delayMs`, and only if it differs from the one sent last. */
export class Wanter {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private sent = '';
  private views: View[] = [];

  constructor(
    private readonly send: (views: View[]) => boolean,
    private readonly delayMs = 150,
  ) {}

  set(views: View[]): void {
    this.views = views;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.flush();
    }, this.delayMs);
  }

  /** A new connection knows nothing: say it again. */
  again(): void {
    this.sent = '';
    this.flush();
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private flush(): void {
    const text = JSON.stringify(this.views);
    if (text === this.sent) return;
    if (this.send(this.views)) this.sent = text;
  }
}
