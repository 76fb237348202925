import { Backoff } from './backoff';
import { type ClientMessage, parseServerMessage, type ServerMessage, subprotocol } from './protocol';

/** The part of a WebSocket that the channel uses; tests hand in their own. */
export interface Socket {
  readonly readyState: number;
  onopen: ((event: Event) => unknown) | null;
  onmessage: ((event: MessageEvent) => unknown) | null;
  onclose: ((event: CloseEvent) => unknown) | null;
  send(text: string): void;
  close(): void;
}

export interface ChannelHandlers {
  opened(): void;
  received(message: ServerMessage): void;
  /** The connection is gone and another attempt follows by itself; `attempt` counts those since the last good one. */
  lost(attempt: number): void;
}

const pingEveryMs = 3000;
const silenceMs = 9000;
const openState = 1;

/**
 * One signalling connection that is always being held or regained, from `start` to `stop`.
 * A dead network closes no WebSocket for minutes, so the channel pings and gives the connection up after 9 s of silence.
 */
export class Channel {
  private socket: Socket | null = null;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private pulse: ReturnType<typeof setInterval> | undefined;
  private heardAt = 0;
  private pings = 0;
  private running = false;

  constructor(
    private readonly url: string,
    private readonly handlers: ChannelHandlers,
    private readonly dial: (url: string, protocol: string) => Socket,
    private readonly backoff = new Backoff(200, 1500),
  ) {}

  start(): void {
    if (this.running) return;
    this.running = true;
    this.backoff.reset();
    this.open();
  }

  stop(): void {
    this.running = false;
    clearTimeout(this.retry);
    this.drop();
  }

  /** Tries at once, for when the network is known to be back. */
  kick(): void {
    if (!this.running || this.socket?.readyState === openState) return;
    clearTimeout(this.retry);
    this.drop();
    this.backoff.reset();
    this.open();
  }

  /** Gives the connection up and opens another. */
  restart(): void {
    if (this.running) this.lose();
  }

  /** True if the message went out; a message for a connection that is gone has no meaning for the next one. */
  send(message: ClientMessage): boolean {
    if (this.socket?.readyState !== openState) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** The peer accepted us: the next loss starts again with short waits. */
  settled(): void {
    this.backoff.reset();
  }

  private open(): void {
    const socket = this.dial(this.url, subprotocol);
    this.socket = socket;
    this.heardAt = Date.now();
    socket.onopen = () => {
      this.heardAt = Date.now();
      this.handlers.opened();
    };
    socket.onmessage = (event) => {
      this.heardAt = Date.now();
      const message = typeof event.data === 'string' ? parseServerMessage(event.data) : null;
      if (message !== null && message.type !== 'pong') this.handlers.received(message);
    };
    socket.onclose = () => {
      this.lose();
    };
    this.pulse = setInterval(() => {
      if (Date.now() - this.heardAt > silenceMs) this.lose();
      else this.send({ type: 'ping', id: ++this.pings });
    }, pingEveryMs);
  }

  private lose(): void {
    this.drop();
    if (!this.running) return;
    const wait = this.backoff.next();
    clearTimeout(this.retry);
    this.retry = setTimeout(() => {
      this.open();
    }, wait);
    this.handlers.lost(this.backoff.attempts);
  }

  private drop(): void {
    clearInterval(this.pulse);
    const socket = this.socket;
    this.socket = null;
    if (socket === null) return;
    socket.onopen = null;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
  }
}
