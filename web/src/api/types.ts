// The JSON of the appliance, as docs/api-shapes.md describes it. Rates are bit/s on the wire, times RFC 3339.

export interface BilingualName {
  zh: string;
  en: string;
}

export type Role = 'admin' | 'operator' | 'chair' | 'room' | 'auditor' | 'user';

export interface Me {
  name: string;
  role: Role;
  language: string;
}

export interface SiteStatus {
  id: string;
  name: string;
  main: boolean;
  terminals_total: number;
  terminals_registered: number;
  calls_active: number;
  participants: number;
}

export type Severity = 'info' | 'warning' | 'critical';

export interface Alarm {
  id: string;
  severity: Severity;
  code: string;
  site: string | null;
  since: string;
  detail: Record<string, string | number | boolean | null> | null;
}

export interface Status {
  name: string;
  domain: string;
  version: string;
  started_at: string;
  now: string;
  ready: boolean;
  language: string;
  terminals_total: number;
  terminals_registered: number;
  calls_active: number;
  rooms_open: number;
  participants: number;
  sites: SiteStatus[];
  alarms: Alarm[];
}

export interface Terminal {
  extension: string;
  display_name: string;
  site: string;
  mac: string;
  model: string;
  template: string;
  state: 'active' | 'spare' | 'disabled';
  notes: string;
  registered: boolean;
  since: string | null;
  address: string | null;
  transport: string | null;
  user_agent: string | null;
  expires_at: string | null;
  bindings: number;
  seen_site: string | null;
  in_call: boolean;
  provisioned_at: string | null;
}

export interface CallParty {
  extension: string;
  display_name: string;
  site: string;
}

export interface CallLeg {
  side: 'caller' | 'callee';
  site: string;
  transport: string;
  packets: number;
  lost: number;
  loss_percent: number;
  jitter_ms: number;
  mos: number | null;
  address: string;
}

export type CallState = 'ringing' | 'established' | 'held' | 'ended';
export type LineClass = 'emergency' | 'priority' | 'voice' | 'conference_audio' | 'content' | 'video' | 'bulk';
export type MediaPath = 'direct' | 'relay' | 'kernel' | 'gateway' | 'served';

export interface Call {
  id: string;
  state: CallState;
  class: LineClass;
  started_at: string;
  answered_at: string | null;
  duration_seconds: number;
  from: CallParty;
  to: CallParty;
  path: MediaPath;
  codec: string | null;
  mos: number | null;
  legs: CallLeg[] | null;
}

export interface LineClassUse {
  class: LineClass;
  reserved_bps: number;
  measured_bps: number;
}

export interface LineDirection {
  capacity_bps: number;
  office_reserve_bps: number;
  reserved_bps: number;
  measured_bps: number;
  free_bps: number;
  classes: LineClassUse[] | null;
}

export interface Line {
  site: string;
  name: string;
  up: LineDirection;
  down: LineDirection;
  refused_total: number;
}

export interface Venue {
  id: string;
  name: BilingualName;
  site: string;
  present: boolean;
}

export interface RoomParticipant {
  id: string;
  venue: string | null;
  name: BilingualName;
  site: string;
  kind: 'browser' | 'native' | 'phone';
  joined_at: string;
  audio_muted: boolean;
  video_muted: boolean;
  speaking: boolean;
  has_content: boolean;
  address: string | null;
  transport: string | null;
  publish_bps: number;
  subscribe_bps: number;
  loss_percent: number;
  rtt_ms: number | null;
  layers: string[] | null;
}

export interface Room {
  number: string;
  name: string;
  state: string;
  opened_at: string | null;
  venues: Venue[] | null;
  participants: RoomParticipant[] | null;
}

export interface Topics {
  status: Status;
  terminals: { terminals: Terminal[] | null };
  calls: { calls: Call[] | null };
  lines: { lines: Line[] | null };
  rooms: { rooms: Room[] | null };
}

export type Topic = keyof Topics;
