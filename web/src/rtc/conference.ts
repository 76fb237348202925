import { batch, signal } from '@preact/signals-core';
import { Channel, type Socket } from './channel';
import { Media } from './media';
import type {
  ActArguments, ChatLine, ConnectionName, EndReason, ErrorCode, JoinRefusal, Layers, LineMessage, Medium, Meeting, Minute, Name, Participant, Quality, ServerMessage, StillOrder, View,
  Welcome,
} from './protocol';
import { SlotMap } from './slots';
import { Meter, type Sample } from './stats';
import { Wanter } from './want';

export type Phase = 'idle' | 'joining' | 'waiting' | 'in' | 'reconnecting' | 'ended';
export type Ending = '' | 'left' | Exclude<EndReason, 'shutdown'> | JoinRefusal;

const finals: ReadonlySet<ErrorCode> = new Set(['forbidden', 'room_full', 'not_found', 'locked', 'dropped', 'pin_required', 'pin_wrong', 'pin_locked'] satisfies JoinRefusal[]);
const isFinal = (code: ErrorCode): code is JoinRefusal => finals.has(code);


export interface ConferenceOptions {
  url: string;
  client: string;
  dial: (url: string, protocol: string) => Socket;
  name?: string;
  /** A chair page: sees and leads, sends nothing and takes nobody's place. */
  control?: boolean;
  configuration?: RTCConfiguration;
}

/** How long a (re)connection may take before everything is built anew. */
const deadlineMs = 10_000;
const statsEveryMs = 5000;

/**
 * A stay in a room: joins, publishes, subscribes, and comes back by itself after every loss. Everything that a page shows is a
 * signal. It owns the connections, not the tracks: those belong to the caller and survive it.
 */
export class Conference {
  readonly phase = signal<Phase>('idle');
  readonly trouble = signal<'' | 'network' | 'restart'>('');
  readonly attempts = signal(0);
  readonly ending = signal<Ending>('');
  readonly self = signal('');
  readonly room = signal<{ number: string; name: string } | null>(null);
  readonly venue = signal<{ id: string; name: Name } | null>(null);
  readonly participants = signal<Participant[]>([]);
  readonly slots = signal(new SlotMap());
  readonly speaking = signal<string[]>([]);
  readonly line = signal<LineMessage | null>(null);
  readonly muted = signal<Record<Medium, boolean>>({ audio: false, video: false });
  readonly content = signal<MediaStreamTrack | null>(null);
  /** Still pictures of our camera that the appliance asks for. */
  readonly stillOrder = signal<StillOrder | null>(null);
  /** The newest still of each participant whose camera our line does not carry, as a data URL. */
  readonly stills = signal<ReadonlyMap<string, string>>(new Map());
  readonly meeting = signal<Meeting | null>(null);
  readonly chat = signal<ChatLine[]>([]);
  /** Told to chair pages only. */
  readonly minutes = signal<Minute[]>([]);
  readonly quality = signal<ReadonlyMap<string, Quality>>(new Map());
  /** The newest refusal of something that this page asked for. */
  readonly refusal = signal<{ act: string; code: ErrorCode } | null>(null);
  /** Counts changes of the receiving connection, so that a view looks its streams up again. */
  readonly revision = signal(0);

  private readonly channel: Channel;
  private readonly media: Media;
  private readonly wanter = new Wanter((views) => this.channel.send({ type: 'want', views }));
  private readonly meters = { publish: new Meter(), subscribe: new Meter() };
  private stream: MediaStream | null = null;
  private pin = '';
  private instance = '';
  private resume = '';
  private welcomed = false;
  private deadline: ReturnType<typeof setTimeout> | undefined;
  private reporting: ReturnType<typeof setInterval> | undefined;
  private queue: Promise<void> = Promise.resolve();

  constructor(private readonly options: ConferenceOptions) {
    this.channel = new Channel(options.url, {
      opened: () => {
        this.opened();
      },
      received: (message) => {
        this.received(message);
      },
      lost: (attempt) => {
        this.lost(attempt);
      },
    }, options.dial);
    this.media = new Media({
      candidate: (connection, candidate) => {
        this.channel.send({ type: 'candidate', connection, candidate });
      },
      broken: (connection) => {
        this.mend(connection);
      },
      changed: () => {
        this.settle();
      },
    }, options.configuration);
  }

  join(stream: MediaStream, pin = ''): void {
    if (this.phase.value === 'joining' || this.phase.value === 'waiting' || this.phase.value === 'in' || this.phase.value === 'reconnecting') return;
    this.stream = stream;
    this.pin = pin;
    this.media.watching = this.options.control === true;
    batch(() => {
      this.phase.value = 'joining';
      this.ending.value = '';
      this.trouble.value = '';
    });
    this.applyMutes();
    this.channel.start();
    this.reporting = setInterval(() => void this.report(), statsEveryMs);
  }

  leave(): void {
    this.channel.send({ type: 'leave' });
    this.end('left');
  }

  setMuted(media: Medium, muted: boolean): void {
    this.muted.value = { ...this.muted.value, [media]: muted };
    this.applyMutes();
    this.channel.send({ type: 'mute', media, muted });
  }

  /** Asks for something to be done to the meeting. The answer is the meeting as it is then, or `refusal`. */
  act(act: string, fields: ActArguments = {}): void {
    this.channel.send({ type: 'act', act, ...fields });
  }

  /** Other tracks in the place of those that ended (a camera that came back). */
  async replaceTracks(stream: MediaStream): Promise<void> {
    this.stream = stream;
    this.applyMutes();
    await this.media.publisher?.replaceTracks(stream.getAudioTracks()[0] ?? null, stream.getVideoTracks()[0] ?? null);
  }

  async share(track: MediaStreamTrack): Promise<void> {
    track.contentHint = 'detail';
    track.addEventListener('ended', () => {
      if (this.content.value === track) void this.stopSharing();
    });
    this.content.value = track;
    await this.media.publisher?.replaceContent(track);
    this.channel.send({ type: 'content', active: true });
  }

  async stopSharing(): Promise<void> {
    const track = this.content.value;
    if (track === null) return;
    this.content.value = null;
    track.stop();
    this.channel.send({ type: 'content', active: false });
    await this.media.publisher?.replaceContent(null);
  }

  /** Hands in a still picture, in base64. */
  sendStill(jpeg: string): void {
    this.channel.send({ type: 'still', jpeg });
  }

  setViews(views: View[]): void {
    this.wanter.set(views);
  }

  /** The network is said to be back. */
  kick(): void {
    this.channel.kick();
  }

  picture(participant: string, media: 'camera' | 'content'): MediaStream | undefined {
    const slot = this.slots.value.picture(participant, media);
    return slot === undefined ? undefined : this.media.subscriber?.stream(slot.mid);
  }

  voices(): MediaStream[] {
    return this.media.subscriber?.voices() ?? [];
  }

  async stats(meters = this.meters): Promise<{ publish: Sample | null; subscribe: Sample | null }> {
    const now = Date.now();
    const read = async (name: ConnectionName, pc: RTCPeerConnection | undefined): Promise<Sample | null> =>
      pc === undefined || pc.connectionState === 'closed' ? null : meters[name].read((await pc.getStats()).values(), name, now);
    return { publish: await read('publish', this.media.publisher?.pc), subscribe: await read('subscribe', this.media.subscriber?.pc) };
  }

  private opened(): void {
    this.welcomed = false;
    this.watchDeadline();
    this.channel.send({
      type: 'join',
      client: this.options.client,
      ...(this.options.name === undefined ? {} : { name: this.options.name }),
      ...(this.resume === '' ? {} : { resume: this.resume }),
      ...(this.pin === '' ? {} : { pin: this.pin }),
      ...(this.options.control === true ? { control: true } : {}),
    });
  }

  private lost(attempt: number): void {
    clearTimeout(this.deadline);
    batch(() => {
      this.stillOrder.value = null; // asked for again after the next welcome
      this.welcomed = false;
      this.attempts.value = attempt;
      if (this.phase.value === 'in') this.phase.value = 'reconnecting';
      if (this.phase.value === 'waiting') this.phase.value = 'joining';
      if (this.trouble.value === '') this.trouble.value = 'network';
    });
  }

  private received(message: ServerMessage): void {
    switch (message.type) {
      case 'participants':
        this.participants.value = message.list ?? [];
        this.applyMutes();
        break;
      case 'waiting':
        clearTimeout(this.deadline); // the chair takes its time
        batch(() => {
          this.room.value = message.room;
          this.phase.value = 'waiting';
        });
        break;
      case 'meeting':
        this.meeting.value = message;
        break;
      case 'chat':
        this.chat.value = message.whole ? (message.lines ?? []) : [...this.chat.value.slice(-199), ...(message.lines ?? [])];
        break;
      case 'minutes':
        this.minutes.value = message.whole ? (message.list ?? []) : [...this.minutes.value.slice(-199), ...(message.list ?? [])];
        break;
      case 'quality':
        this.quality.value = new Map((message.list ?? []).map((one) => [one.participant, one]));
        break;
      case 'slots':
        batch(() => {
          const slots = new SlotMap(message.video ?? [], message.audio ?? []);
          this.slots.value = slots;
          // An old still must not come back later as if it were of now.
          const kept = [...this.stills.value].filter(([participant]) => slots.picture(participant, 'camera')?.reason === 'line');
          if (kept.length !== this.stills.value.size) this.stills.value = new Map(kept);
        });
        break;
      case 'speaking':
        this.speaking.value = message.participants ?? [];
        break;
      case 'line':
        this.line.value = message;
        break;
      case 'layers':
        this.media.publisher?.apply(message);
        break;
      case 'stills':
        this.stillOrder.value = message.active ? message : null;
        break;
      case 'still':
        this.stills.value = new Map(this.stills.value).set(message.participant, `data:image/jpeg;base64,${message.jpeg}`);
        break;
      case 'ended':
        this.ended(message.reason);
        break;
      case 'error':
        if (message.request === 'join' || message.request === '') {
          if (isFinal(message.code)) this.end(message.code);
        } else if (message.request === 'act' || message.request === 'mute' || message.request === 'content') {
          this.refusal.value = { act: message.act ?? message.request, code: message.code };
          if (message.request === 'content') void this.stopSharing();
        }
        break;
      case 'welcome':
      case 'publish_answer':
      case 'subscribe_offer':
        // Descriptions are applied one after the other, in the order they came.
        this.queue = this.queue.then(() => this.negotiate(message)).catch(() => {
          this.startOver();
        });
        break;
      case 'standby':
      case 'pong':
        break;
    }
  }

  private async negotiate(message: Extract<ServerMessage, { type: 'welcome' | 'publish_answer' | 'subscribe_offer' }>): Promise<void> {
    if (this.phase.value === 'ended' || this.stream === null) return;
    switch (message.type) {
      case 'welcome':
        await this.welcome(message, this.stream);
        break;
      case 'publish_answer':
        if (!((await this.media.publisher?.answer(message.sdp)) ?? true)) await this.publishAnew(this.stream, null);
        break;
      case 'subscribe_offer': {
        const sdp = await this.media.accept(message.sdp);
        this.channel.send({ type: 'subscribe_answer', sdp });
        this.revision.value++;
        break;
      }
    }
    this.settle();
  }

  private async welcome(message: Welcome, stream: MediaStream): Promise<void> {
    const restarted = this.instance !== '' && this.instance !== message.instance;
    const same = this.instance === message.instance && this.self.value === message.participant;
    this.instance = message.instance;
    this.resume = message.resume;
    this.welcomed = true;
    this.channel.settled();
    batch(() => {
      this.self.value = message.participant;
      this.room.value = message.room;
      this.venue.value = message.venue;
      this.attempts.value = 0;
      if (restarted) this.trouble.value = 'restart';
    });
    const publisher = this.media.publisher;
    if (this.phase.value === 'waiting') {
      this.phase.value = 'joining';
      this.watchDeadline();
    }
    if (same && this.media.watching) {
      // The appliance restarts its own connection by itself: an offer follows every welcome.
    } else if (same && publisher !== null) {
      if (message.layers !== null) publisher.apply(message.layers);
      if (!this.media.carries('publish')) this.channel.send({ type: 'publish', sdp: await publisher.offer(true) });
    } else {
      this.media.close();
      this.slots.value = new SlotMap();
      if (!this.media.watching) await this.publishAnew(stream, message.layers);
    }
    this.tell();
  }

  private async publishAnew(stream: MediaStream, layers: Layers | null): Promise<void> {
    const publisher = this.media.renew(stream, layers);
    this.revision.value++;
    if (this.content.value !== null) await publisher.replaceContent(this.content.value);
    this.channel.send({ type: 'publish', sdp: await publisher.offer() });
  }

  /** What a new connection must hear from us. */
  private tell(): void {
    for (const media of ['audio', 'video'] as const) {
      if (this.media.watching) break;
      if (this.muted.value[media]) this.channel.send({ type: 'mute', media, muted: true });
    }
    if (this.content.value !== null) this.channel.send({ type: 'content', active: true });
    this.wanter.again();
  }

  private settle(): void {
    if (this.phase.value !== 'joining' && this.phase.value !== 'reconnecting') return;
    if (!this.welcomed || !this.media.connected) return;
    clearTimeout(this.deadline);
    batch(() => {
      this.phase.value = 'in';
      this.trouble.value = '';
      this.attempts.value = 0;
    });
  }

  private mend(connection: ConnectionName): void {
    if (this.phase.value === 'ended' || this.phase.value === 'idle') return;
    batch(() => {
      if (this.phase.value === 'in') this.phase.value = 'reconnecting';
      if (this.trouble.value === '') this.trouble.value = 'network';
    });
    if (!this.welcomed) return; // the signalling is away too: welcome mends both
    this.watchDeadline();
    if (connection === 'subscribe') {
      this.channel.send({ type: 'subscribe_restart' });
      return;
    }
    this.queue = this.queue.then(async () => {
      const publisher = this.media.publisher;
      if (publisher !== null) this.channel.send({ type: 'publish', sdp: await publisher.offer(true) });
    }).catch(() => {
      this.startOver();
    });
  }

  private watchDeadline(): void {
    clearTimeout(this.deadline);
    this.deadline = setTimeout(() => {
      if (this.phase.value === 'joining' || this.phase.value === 'reconnecting') this.startOver();
    }, deadlineMs);
  }

  /** Forgets the old stay and joins as if for the first time; the appliance replaces the older one. */
  private startOver(): void {
    if (this.phase.value === 'ended' || this.phase.value === 'idle') return;
    this.channel.send({ type: 'leave' });
    this.resume = '';
    this.self.value = '';
    this.media.close();
    this.channel.restart();
  }

  private ended(reason: EndReason): void {
    if (reason !== 'shutdown') {
      this.end(reason);
      return;
    }
    this.trouble.value = 'restart';
    this.channel.restart();
  }

  private end(ending: Ending): void {
    clearTimeout(this.deadline);
    clearInterval(this.reporting);
    this.wanter.stop();
    this.channel.stop();
    this.media.close();
    this.content.value?.stop();
    this.resume = '';
    this.instance = '';
    batch(() => {
      this.phase.value = 'ended';
      this.ending.value = ending;
      this.trouble.value = '';
      this.self.value = '';
      this.content.value = null;
      this.participants.value = [];
      this.stillOrder.value = null;
      this.stills.value = new Map();
      this.meeting.value = null;
      this.chat.value = [];
      this.minutes.value = [];
      this.quality.value = new Map();
      this.speaking.value = [];
      this.slots.value = new SlotMap();
      this.revision.value++;
    });
  }

  /** What the chair has muted is not even sent; the appliance would throw it away. */
  private applyMutes(): void {
    const own = this.participants.value.find((participant) => participant.id === this.self.value);
    for (const track of this.stream?.getTracks() ?? []) {
      track.enabled = track.kind === 'audio' ? !this.muted.value.audio && own?.chair_muted !== true : !this.muted.value.video && own?.camera_off !== true;
    }
  }

  private async report(): Promise<void> {
    if (this.phase.value !== 'in') return;
    const { publish, subscribe } = await this.stats();
    if (publish !== null && subscribe !== null) {
      this.channel.send({ type: 'stats', publish: publish.connection, subscribe: subscribe.connection });
    }
  }
}
