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
  | { type: 'join'; name?: string; resume?: string; client: string }
  | { type: 'publish'; sdp: string }
  | { type: 'subscribe_answer'; sdp: string }
  | { type: 'subscribe_restart' }
  | { type: 'candidate'; connection: ConnectionName; candidate: RTCIceCandidateInit }
  | { type: 'mute'; media: Medium; muted: boolean }
  | { type: 'content'; active: boolean }
  | { type: 'want'; views: View[] }
  | { type: 'stats'; publish: ConnectionStats; subscribe: ConnectionStats }
  | { type: 'ping'; id: number }
  | { type: 'leave' };

export interface LayerCommand {
  rid: string;
  active: boolean;
  max_bitrate_bps: number;
}

export interface Layers {
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
}

export type SlotReason = '' | 'line' | 'muted';

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

export type EndReason = 'replaced' | 'removed' | 'room_closed' | 'shutdown';
export type ErrorCode = 'bad_message' | 'bad_state' | 'forbidden' | 'room_full' | 'not_found' | 'internal';

export type ServerMessage =
  | Welcome
  | LineMessage
  | { type: 'publish_answer'; sdp: string }
  | { type: 'subscribe_offer'; sdp: string }
  | { type: 'participants'; list: Participant[] | null }
  | { type: 'slots'; video: VideoSlot[] | null; audio: AudioSlot[] | null }
  | { type: 'speaking'; participants: string[] | null }
  | ({ type: 'layers' } & Layers)
  | { type: 'error'; code: ErrorCode; message: string; request: string }
  | { type: 'ended'; reason: EndReason }
  | { type: 'pong'; id: number };

const known: ReadonlySet<string> = new Set([
  'welcome', 'publish_answer', 'subscribe_offer', 'participants', 'slots', 'speaking', 'layers', 'line', 'error', 'ended', 'pong',
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
