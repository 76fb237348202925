/** What the page's address and the machine's memory say about who is here. */
export interface Address {
  number: string;
  /** From a room link's fragment: never sent to the server by the browser itself. */
  link: { venue: string; token: string } | null;
  video: { width: number; height: number; frameRate: number };
  /** A machine that nobody operates: who calls it is let in at once. */
  kiosk: boolean;
}

const usual = { width: 1280, height: 720, frameRate: 25 };

/** `?video=320x180@10` overrides what is captured, for weak PCs and for tests. */
export function captureOf(text: string | null): Address['video'] {
  const match = /^(\d{2,4})x(\d{2,4})(?:@(\d{1,2}))?$/.exec(text ?? '');
  if (match === null) return usual;
  const [, width, height, rate] = match;
  return { width: Number(width), height: Number(height), frameRate: rate === undefined ? usual.frameRate : Math.max(1, Number(rate)) };
}

export function readAddress(url: URL): Address {
  const fragment = new URLSearchParams(url.hash.slice(1));
  const venue = fragment.get('venue');
  const token = fragment.get('token');
  return {
    number: decodeURIComponent(/^\/(?:room|chair)\/([^/]+)/.exec(url.pathname)?.[1] ?? ''),
    link: venue !== null && token !== null && venue !== '' && token !== '' ? { venue, token } : null,
    video: captureOf(url.searchParams.get('video')),
    kiosk: url.searchParams.has('kiosk'),
  };
}

/** What this machine remembers of a room: its venue, and whether it shall join by itself. */
export interface Memory {
  venue: string;
  name: { zh: string; en: string } | null;
  auto: boolean;
}

const key = (number: string): string => `linehall.room.${number}`;

export function recall(number: string): Memory | null {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(key(number)) ?? 'null');
    if (typeof value !== 'object' || value === null || !('venue' in value) || typeof value.venue !== 'string') return null;
    return value as Memory;
  } catch {
    return null;
  }
}

export function remember(number: string, memory: Memory): void {
  try {
    localStorage.setItem(key(number), JSON.stringify(memory));
  } catch {
    // Without storage a reload shows the join button again.
  }
}
