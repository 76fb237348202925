import { batch, signal } from '@preact/signals';
import { Backoff } from '../rtc/backoff';
import { ApiError, me } from './http';
import type { Topic, Topics } from './types';

/** `stale` = what is shown is old, the feed is being reached again. */
export type FeedState = 'connecting' | 'live' | 'stale';

export const feedState = signal<FeedState>('connecting');
/** When the newest frame came, in milliseconds since 1970. */
export const lastFrameAt = signal(0);

export const topics = {
  status: signal<Topics['status'] | null>(null),
  terminals: signal<Topics['terminals'] | null>(null),
  calls: signal<Topics['calls'] | null>(null),
  lines: signal<Topics['lines'] | null>(null),
  rooms: signal<Topics['rooms'] | null>(null),
};

const names: readonly Topic[] = ['status', 'terminals', 'calls', 'lines', 'rooms'];

const silenceMs = 10_000;

function take(text: string): void {
  const frame: unknown = JSON.parse(text);
  if (typeof frame !== 'object' || frame === null || !('topic' in frame) || !('data' in frame)) return;
  const topic = names.find((name) => name === frame.topic);
  if (topic === undefined || typeof frame.data !== 'object' || frame.data === null) return;
  batch(() => {
    assign(topic, frame.data);
    lastFrameAt.value = Date.now();
    feedState.value = 'live';
  });
}

function assign(topic: Topic, data: unknown): void {
  switch (topic) {
    case 'status':
      topics.status.value = data as Topics['status'];
      break;
    case 'terminals':
      topics.terminals.value = data as Topics['terminals'];
      break;
    case 'calls':
      topics.calls.value = data as Topics['calls'];
      break;
    case 'lines':
      topics.lines.value = data as Topics['lines'];
      break;
    case 'rooms':
      topics.rooms.value = data as Topics['rooms'];
      break;
  }
}

/** Follows /api/v1/live until the returned function is called; `onSignedOut` tells that the session has ended. */
export function follow(onSignedOut: () => void): () => void {
  const backoff = new Backoff();
  let socket: WebSocket | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;

  const open = (): void => {
    if (stopped) return;
    const next = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/live`);
    socket = next;
    next.onmessage = (event: MessageEvent<unknown>) => {
      backoff.reset();
      if (typeof event.data === 'string') take(event.data);
    };
    next.onclose = () => {
      if (socket === next) void again();
    };
  };

  const again = async (): Promise<void> => {
    if (stopped) return;
    socket = null;
    feedState.value = lastFrameAt.value === 0 ? 'connecting' : 'stale';
    try {
      await me();
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        onSignedOut();
        return;
      }
    }
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (socket === null) open();
    }, backoff.next());
  };

  // A cable that was pulled closes nothing: when the feed is silent, ask, and give the connection up if nobody answers.
  const watch = setInterval(() => {
    const watched = socket;
    if (watched === null || Date.now() - lastFrameAt.value < silenceMs) return;
    me().catch((error: unknown) => {
      if (socket !== watched || !(error instanceof ApiError) || (error.status !== 0 && error.status !== 401)) return;
      watched.close();
      void again();
    });
  }, silenceMs / 2);

  const kick = (): void => {
    if (socket !== null) return;
    clearTimeout(timer);
    backoff.reset();
    open();
  };

  globalThis.addEventListener('online', kick);
  open();
  return () => {
    stopped = true;
    clearTimeout(timer);
    clearInterval(watch);
    globalThis.removeEventListener('online', kick);
    socket?.close();
  };
}
