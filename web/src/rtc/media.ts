import type { ConnectionName, Layers } from './protocol';
import { Publisher } from './publisher';
import { Subscriber } from './subscriber';

export interface MediaHandlers {
  candidate(connection: ConnectionName, candidate: RTCIceCandidateInit): void;
  /** A connection has been without a path for `patienceMs`, or for good. */
  broken(connection: ConnectionName): void;
  changed(): void;
}

const patienceMs = 2000;

/** The two peer connections of one stay in the room, and whether they carry anything. */
export class Media {
  publisher: Publisher | null = null;
  subscriber: Subscriber | null = null;
  /** A page that only looks on has no publisher. */
  watching = false;
  private readonly patience = new Map<ConnectionName, ReturnType<typeof setTimeout>>();

  constructor(
    private readonly handlers: MediaHandlers,
    private readonly configuration: RTCConfiguration = {},
  ) {}

  get connected(): boolean {
    return (this.watching || this.publisher?.pc.connectionState === 'connected') && this.subscriber?.pc.connectionState === 'connected';
  }

  carries(connection: ConnectionName): boolean {
    return this[connection === 'publish' ? 'publisher' : 'subscriber']?.pc.connectionState === 'connected';
  }

  /** Makes a new publisher of the live tracks, in the place of the one there was. */
  renew(stream: MediaStream, layers: Layers | null): Publisher {
    clearTimeout(this.patience.get('publish'));
    this.publisher?.close();
    const publisher = new Publisher(stream, this.listener('publish'), this.configuration);
    if (layers !== null) publisher.apply(layers);
    this.publisher = publisher;
    return publisher;
  }

  /** The answer to an offer of the appliance; a new connection at its end means a new one here. */
  async accept(sdp: string): Promise<string> {
    if (this.subscriber !== null && !this.subscriber.continues(sdp)) {
      this.subscriber.close();
      this.subscriber = null;
    }
    this.subscriber ??= new Subscriber(this.listener('subscribe'), this.configuration);
    return this.subscriber.accept(sdp);
  }

  close(): void {
    for (const timer of this.patience.values()) clearTimeout(timer);
    this.patience.clear();
    this.publisher?.close();
    this.subscriber?.close();
    this.publisher = null;
    this.subscriber = null;
  }

  private listener(name: ConnectionName): { candidate: (c: RTCIceCandidateInit) => void; connection: (s: RTCPeerConnectionState) => void } {
    return {
      candidate: (candidate) => {
        this.handlers.candidate(name, candidate);
      },
      connection: (state) => {
        clearTimeout(this.patience.get(name));
        if (state === 'failed') this.handlers.broken(name);
        if (state === 'disconnected') {
          this.patience.set(name, setTimeout(() => {
            this.handlers.broken(name);
          }, patienceMs));
        }
        this.handlers.changed();
      },
    };
  }
}
