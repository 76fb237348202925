// The room protocol `linehall.room.v1`: docs/signalling.md describes every message.

export const subprotocol = 'linehall.room.v1';

export type Rid = 'l' | 'm' | 'h';
export type Medium = 'audio' | 'video';
export type Picture = 'camera' | 'content';
export type ConnectionName = 'publish' | 'subscribe';

export interface Name {
  zh: string;
  en: string;
}

export interface View {
  participant: string;
  media: Picture;
  /** Device pixels. */
  height: number;
}

export interface ConnectionStats {
  rtt_ms: number;
  loss_percent: number;
  jitter_ms: number;
  bitrate_bps: number;
  frames_per_second: number;
}

export type ClientMessage =
  | { type: 'join'; name?: string; resume?: string; client: string; pin?: string; control?: boolean; standby?: boolean }
  | { type: 'decline' }
  | ({ type: 'act'; act: string } & ActArguments)
  | { type: 'publish'; sdp: string }
  | { type: 'subscribe_answer'; sdp: string }
  | { type: 'subscribe_restart' }
  | { type: 'candidate'; connection: ConnectionName; candidate: RTCIceCandidateInit }
  | { type: 'mute'; media: Medium; muted: boolean }
  | { type: 'content'; active: boolean }
  | { type: 'want'; views: View[] }
  | { type: 'stats'; publish: ConnectionStats; subscribe: ConnectionStats }
  | { type: 'still'; jpeg: string }
  | { type: 'ping'; id: number }
  | { type: 'leave' };

export interface LayerCommand {
  rid: string;
  active: boolean;
  max_bitrate_bps: number;
}

export interface Layers {
  /** Name in SDP, as in `VP9`. */
  codec?: string;
  camera: LayerCommand[] | null;
  content: { active: boolean; max_bitrate_bps: number } | null;
}

export interface Participant {
  id: string;
  venue: string | null;
  name: Name;
  site: string;
  kind: 'browser' | 'native' | 'phone';
  audio_muted: boolean;
  video_muted: boolean;
  has_audio: boolean;
  has_video: boolean;
  has_content: boolean;
  joined_at: string;
  /** Outlives connections and restarts: the venue's id, or `user:` and a name. */
  member: string;
  chair_muted: boolean;
  camera_off: boolean;
}

export type SlotReason = '' | 'line' | 'muted' | 'codec';

export interface VideoSlot {
  mid: string;
  participant: string;
  media: Picture;
  rid: string;
  reason: SlotReason;
}

export interface AudioSlot {
  mid: string;
  participant: string;
}

export type LineState = 'good' | 'tight' | 'congested' | 'none';

export interface Welcome {
  type: 'welcome';
  instance: string;
  participant: string;
  resume: string;
  room: { number: string; name: string };
  venue: { id: string; name: Name } | null;
  layers: Layers | null;
}

export interface LineMessage {
  type: 'line';
  site: string;
  state: LineState;
  up: { capacity_bps: number; video_bps: number } | null;
  down: { capacity_bps: number; video_bps: number } | null;
}

/** Somebody's line does not carry our lowest layer: it gets a small JPEG every few seconds. */
export interface StillOrder {
  active: boolean;
  interval_ms: number;
  max_octets: number;
}

export type EndReason = 'replaced' | 'removed' | 'room_closed' | 'shutdown' | 'dropped' | 'turned_away' | 'meeting_ended';
export type JoinRefusal = 'forbidden' | 'room_full' | 'not_found' | 'locked' | 'dropped' | 'pin_required' | 'pin_wrong' | 'pin_locked';
export type ActRefusal =
  | 'not_chair' | 'forbidden' | 'chair_held' | 'absent' | 'no_chair' | 'muted_by_chair' | 'camera_off_by_chair' | 'content_locked' | 'not_now' | 'too_often' | 'bad_message'
  | 'pin_wrong' | 'pin_locked' | 'pin_required' | 'unreachable' | 'booked';
export type ErrorCode = JoinRefusal | ActRefusal | 'bad_state' | 'internal';

export type ServerMessage =
  | Welcome
  | LineMessage
  | { type: 'publish_answer'; sdp: string }
  | { type: 'subscribe_offer'; sdp: string }
  | { type: 'participants'; list: Participant[] | null }
  | { type: 'slots'; video: VideoSlot[] | null; audio: AudioSlot[] | null }
  | { type: 'speaking'; participants: string[] | null }
  | ({ type: 'layers' } & Layers)
  | { type: 'error'; code: ErrorCode; message: string; request: string; act?: string }
  | StandbyMessage
  | { type: 'waiting'; room: { number: string; name: string } }
  | Meeting
  | { type: 'chat'; whole: boolean; lines: ChatLine[] | null }
  | { type: 'minutes'; whole: boolean; list: Minute[] | null }
  | { type: 'quality'; list: Quality[] | null }
  | ({ type: 'stills' } & StillOrder)
  | { type: 'still'; participant: string; jpeg: string }
  | { type: 'ended'; reason: EndReason }
  | { type: 'pong'; id: number };

const known: ReadonlySet<string> = new Set([
  'welcome', 'publish_answer', 'subscribe_offer', 'participants', 'slots', 'speaking', 'layers', 'line', 'error', 'ended', 'pong', 'waiting', 'meeting', 'chat', 'minutes', 'quality', 'stills', 'still', 'standby',
] satisfies ServerMessage['type'][]);

/** Reads one frame; null for what is no message or has a type that this client does not know (it ignores those). */
export function parseServerMessage(text: string): ServerMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null || !('type' in value) || typeof value.type !== 'string') return null;
  return known.has(value.type) ? (value as ServerMessage) : null;
}

/** What an act carries besides its name; docs/signalling.md says what means something where. */
export interface ActArguments {
  target?: string;
  on?: boolean;
  text?: string;
  layout?: Layout;
  order?: string[];
  seconds?: number;
  pin?: string;
}

export type Layout = '' | 'single' | 'speaker' | 'grid' | 'pip' | 'lecture';

export interface FloorRequest {
  member: string;
  name: Name;
  at: string;
}

export interface Poll {
  order: string[];
  seconds: number;
  skip_absent: boolean;
  paused: boolean;
  current: string;
  next_at: string;
}

export interface RollEntry {
  member: string;
  name: Name;
  present: boolean;
  answered_at: string | null;
}

export interface Roll {
  started_at: string;
  until: string;
  closed_at: string | null;
  entries: RollEntry[];
}

export interface VenueState {
  id: string;
  name: Name;
  site: string;
  present: boolean;
  dropped: boolean;
  /** A page of it waits and can be called; it rings. */
  stands_by: boolean;
  called: boolean;
}

export interface Guest {
  id: string;
  name: Name;
  at: string;
}

/** A telephone that is called into the meeting; who answers is among the participants. */
export interface PhoneCall {
  id: string;
  number: string;
  name: string;
  state: 'calling' | 'ringing' | 'failed' | 'cancelled';
  /** Why nobody came, in English words of the exchange. */
  reason: string;
  at: string;
}

/** The order of the meeting, whole at each change. */
export interface Meeting {
  type: 'meeting';
  id: string;
  /** Of the planned meeting; empty: without a plan. */
  title: string;
  started_at: string;
  ends_at: string | null;
  chair: string;
  chair_name: Name | null;
  chair_present: boolean;
  on_air: string;
  floor: string;
  view: string;
  requests: FloorRequest[];
  mute_all: boolean;
  may_unmute: boolean;
  content_locked: boolean;
  presenter: string;
  locked: boolean;
  waiting_room: boolean;
  layout: Layout;
  forced: boolean;
  banner: string;
  caption: string;
  poll: Poll | null;
  roll: Roll | null;
  /** The meeting is being recorded; null: it is not. */
  recording: { since: string; by_name: Name; tracks: boolean } | null;
  venues: VenueState[];
  you: { member: string; chair: boolean; may_chair: boolean; may_revoke: boolean; chair_pin: boolean; waiting: Guest[]; calls: PhoneCall[] };
}

export interface ChatLine {
  at: string;
  member: string;
  name: Name;
  text: string;
}

export interface Minute {
  at: string;
  actor: string;
  actor_name: Name;
  action: string;
  target: string;
  target_name: Name;
  detail: string;
}

/** To pages that stand by; moments in milliseconds since 1970, 0: none. */
export interface StandbyMessage {
  type: 'standby';
  instance: string;
  room: { number: string; name: string };
  venue: string;
  venue_name: Name;
  meeting: string;
  title: string;
  present: number;
  next_title: string;
  next_at: number;
  next_until: number;
  called: boolean;
  called_by: Name;
  called_until: number;
}

export interface Quality {
  participant: string;
  line: LineState;
  publish_bps: number;
  subscribe_bps: number;
  loss_percent: number;
  rtt_ms: number;
}
