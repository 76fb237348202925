// The JSON of the appliance by the names that the pages use. The shapes are generated from api/openapi.yaml
// (schema.ts), so that a change of the API that a page does not follow fails to compile.

import type { components } from './schema';

type Schemas = components['schemas'];

export type BilingualName = Schemas['Names'];
export type Me = Schemas['Me'];
export type Role = Me['role'];
export type SiteStatus = Schemas['SiteStatus'];
export type Alarm = Schemas['Alarm'];
export type Severity = Alarm['severity'];
export type Status = Schemas['Status'];
export type Terminal = Schemas['Terminal'];
export type CallParty = Schemas['Party'];
export type CallLeg = Schemas['CallLeg'];
export type Call = Schemas['Call'];
export type CallState = Call['state'];
export type LineClass = Call['class'];
export type MediaPath = Call['path'];
export type LineClassUse = Schemas['LineClass'];
export type LineDirection = Schemas['LineDirection'];
export type Line = Schemas['Line'];
export type Cdr = Schemas['CDR'];
export type Recording = Schemas['Recording'];
export type Programme = Schemas['Programme'];
export type ProgrammeDetails = Schemas['ProgrammeDetails'];
export type ProgrammePart = Schemas['ProgrammePart'];
export type ProgrammeExport = Schemas['ProgrammeExport'];
export type Chapter = Schemas['Chapter'];
export type Trace = Schemas['Trace'];
export type TraceStep = Schemas['TraceStep'];
export type Venue = Schemas['Venue'];
export type RoomParticipant = Schemas['Participant'];
export type Room = Schemas['Room'];
export type ScheduledMeeting = Schemas['ScheduledMeeting'];
export type MeetingPlan = Schemas['MeetingPlan'];
export type Occurrence = Schemas['Occurrence'];
export type HeldMeeting = Schemas['Meeting'];
export type Attendance = Schemas['Attendance'];
export type CalendarFeed = Schemas['CalendarFeed'];

/** What the live feed sends, by topic; see api/live.go. */
export interface Topics {
  status: Status;
  terminals: Schemas['TerminalList'];
  calls: Schemas['CallList'];
  lines: Schemas['LineList'];
  rooms: Schemas['RoomList'];
}

export type Topic = keyof Topics;
