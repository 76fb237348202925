import type { Attendance, CalendarFeed, Cdr, HeldMeeting, Me, MeetingPlan, Occurrence, Programme, ProgrammeDetails, Recording, Room, ScheduledMeeting, Trace } from './types';

/** What a refused request said (RFC 9457), or that the appliance did not answer (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
    readonly retryAfterSeconds: number | null,
    /** Which fields of the body break which rules, by the codes that the API has for pages. */
    readonly fields: readonly { field: string; code: string }[] = [],
  ) {
    super(`${String(status)} ${detail}`);
  }
}

async function call(method: string, path: string, body?: unknown): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      credentials: 'same-origin',
      cache: 'no-store',
      headers: body === undefined ? { Accept: 'application/json' } : { Accept: 'application/json', 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new ApiError(0, '', null);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response: Response): Promise<ApiError> {
  let detail = '';
  let fields: { field: string; code: string }[] = [];
  try {
    const problem = await response.json() as { detail?: unknown; errors?: { location?: string; value?: unknown }[] } | null;
    if (typeof problem?.detail === 'string') detail = problem.detail;
    fields = (problem?.errors ?? []).map((one) => ({ field: (one.location ?? '').replace(/^body\./, ''), code: typeof one.value === 'string' ? one.value : '' }));
  } catch {
    detail = response.statusText;
  }
  const wait = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
  return new ApiError(response.status, detail, Number.isFinite(wait) ? wait : null, fields);
}

const json = async <T>(response: Promise<Response>): Promise<T> => (await response).json() as Promise<T>;

export const login = async (username: string, password: string): Promise<void> => {
  await call('POST', '/login', { username, password });
};
export const logout = async (): Promise<void> => {
  await call('POST', '/logout');
};
export const me = (): Promise<Me> => json<Me>(call('GET', '/me'));
export const hangUp = async (id: string): Promise<void> => {
  await call('DELETE', `/calls/${encodeURIComponent(id)}`);
};
/** The calls that ended, newest first. */
export const records = async (limit: number): Promise<Cdr[]> => (await json<{ cdrs: Cdr[] | null }>(call('GET', `/cdrs?limit=${String(limit)}`))).cdrs ?? [];
export const record = (id: string): Promise<Cdr> => json<Cdr>(call('GET', `/cdrs/${encodeURIComponent(id)}`));
export const trace = (id: string): Promise<Trace> => json<Trace>(call('GET', `/calls/${encodeURIComponent(id)}/trace`));
/** Where the capture file of a call is; the browser fetches it. */
export const capture = (id: string): string => `/api/v1/calls/${encodeURIComponent(id)}/pcap`;
/** The recordings of a call, the newest first. */
export const recordings = async (id: string): Promise<Recording[]> => (await json<{ recordings: Recording[] }>(call('GET', `/recordings?call=${encodeURIComponent(id)}`))).recordings;
/** Where a recording is; a player or the browser fetches it. */
export const recordingAudio = (id: string, format: 'wav' | 'flac', download: boolean): string =>
  `/api/v1/recordings/${encodeURIComponent(id)}/audio?format=${format}${download ? '&download=true' : ''}`;
export const deleteRecording = async (id: string): Promise<void> => {
  await call('DELETE', `/recordings/${encodeURIComponent(id)}`);
};
/** Recorded meetings, the newest first. */
export const programmes = async (): Promise<Programme[]> => (await json<{ programmes: Programme[] }>(call('GET', '/programmes'))).programmes;
export const programme = (id: string): Promise<ProgrammeDetails> => json<ProgrammeDetails>(call('GET', `/programmes/${encodeURIComponent(id)}`));
/** Where a part of a recorded meeting is: pictures with a track per voice, or all voices in one. */
export const programmePart = (id: string, part: number, what: 'file' | 'sound', download = false): string =>
  `/api/v1/programmes/${encodeURIComponent(id)}/parts/${String(part)}/${what}${download ? '?download=true' : ''}`;
export const deleteProgramme = async (id: string): Promise<void> => {
  await call('DELETE', `/programmes/${encodeURIComponent(id)}`);
};
export const exportProgramme = async (id: string, format: 'mp4' | 'webm'): Promise<void> => {
  await call('POST', `/programmes/${encodeURIComponent(id)}/exports`, { format });
};
export const exportFile = (id: string, one: string): string => `/api/v1/programmes/${encodeURIComponent(id)}/exports/${encodeURIComponent(one)}/file`;
export const dropExport = async (id: string, one: string): Promise<void> => {
  await call('DELETE', `/programmes/${encodeURIComponent(id)}/exports/${encodeURIComponent(one)}`);
};
/** Begins or ends the recording of a call that goes on. */
export const tape = async (id: string, on: boolean): Promise<void> => {
  await call(on ? 'POST' : 'DELETE', `/calls/${encodeURIComponent(id)}/recording`);
};
export const roomLink = (number: string, venue: string): Promise<{ url: string }> =>
  json<{ url: string }>(call('POST', `/rooms/${encodeURIComponent(number)}/link`, { venue }));
export const room = (number: string): Promise<Room> => json<Room>(call('GET', `/rooms/${encodeURIComponent(number)}`));
export const enterDevice = async (number: string, venue: string, token: string): Promise<void> => {
  await call('POST', `/rooms/${encodeURIComponent(number)}/device`, { venue, token });
};

/** Planned meetings. */
export const scheduled = async (): Promise<ScheduledMeeting[]> => (await json<{ meetings: ScheduledMeeting[] }>(call('GET', '/schedule'))).meetings;
export const occurrences = (from: Date, to: Date): Promise<{ time_zone: string; occurrences: Occurrence[] }> =>
  json(call('GET', `/occurrences?from=${from.toISOString()}&to=${to.toISOString()}`));
export const planMeeting = (id: string, plan: MeetingPlan): Promise<ScheduledMeeting> =>
  json<ScheduledMeeting>(id === '' ? call('POST', '/schedule', plan) : call('PUT', `/schedule/${encodeURIComponent(id)}`, plan));
export const cancelMeeting = async (id: string): Promise<void> => {
  await call('DELETE', `/schedule/${encodeURIComponent(id)}`);
};
export const skipMeeting = async (id: string, date: string, skip: boolean): Promise<void> => {
  await call(skip ? 'PUT' : 'DELETE', `/schedule/${encodeURIComponent(id)}/skipped/${encodeURIComponent(date)}`);
};
export const calendarFile = (id: string): string => `/api/v1/schedule/${encodeURIComponent(id)}/calendar.ics`;
export const calendars = async (): Promise<CalendarFeed[]> => (await json<{ calendars: CalendarFeed[] }>(call('GET', '/calendars'))).calendars;
export const makeCalendar = (room: string, venue: string): Promise<{ url: string; id: string }> => json(call('POST', '/calendars', { room, venue }));
export const revokeCalendar = async (id: string): Promise<void> => {
  await call('DELETE', `/calendars/${encodeURIComponent(id)}`);
};
/** The meetings that were, the newest first. */
export const heldMeetings = async (room: string): Promise<HeldMeeting[]> =>
  (await json<{ meetings: HeldMeeting[] }>(call('GET', `/rooms/${encodeURIComponent(room)}/meetings?limit=50`))).meetings;
export const attendance = async (room: string, meeting: string): Promise<Attendance[]> =>
  (await json<{ attendance: Attendance[] }>(call('GET', `/rooms/${encodeURIComponent(room)}/attendance?meeting=${encodeURIComponent(meeting)}`))).attendance;
/** Papers of a meeting for a spreadsheet; the browser fetches them. */
export const paper = (kind: 'attendance' | 'minutes', room: string, meeting: string): string =>
  `/api/v1/rooms/${encodeURIComponent(room)}/${kind}.csv?meeting=${encodeURIComponent(meeting)}`;
