import { computed, effect, signal } from '@preact/signals';
import { ApiError, enterDevice, me, room as readRoom } from '../api/http';
import type { BilingualName } from '../api/types';
import { Backoff } from '../rtc/backoff';
import { Conference, type Ending } from '../rtc/conference';
import { Standby } from '../rtc/standby';
import { readAddress, recall, remember } from './address';
import { Devices, PermissionDenied, stream } from './devices';

/** The states before, beside and after the meeting; the meeting's own come from the conference client. */
export type Standing =
  | 'linking' | 'unauthorized' | 'link-invalid' | 'not-found' | 'insecure' | 'unsupported' | 'preparing' | 'no-permission' | 'prejoin' | 'meeting';

export type RoomState = Exclude<Standing, 'meeting'> | 'joining' | 'waiting' | 'in-meeting' | 'reconnecting' | Exclude<Ending, ''>;

const address = readAddress(new URL(location.href));
export const number = address.number;
export const standing = signal<Standing>('linking');
export const roomName = signal('');
export const venueName = signal<BilingualName | null>(recall(number)?.name ?? null);
export const unreachable = signal(false);
/** This venue shall come back by itself; false after somebody pressed "leave". */
let auto = address.link !== null || (recall(number)?.auto ?? false);
let venue = address.link?.venue ?? recall(number)?.venue ?? '';

const signalling = {
  url: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/rooms/${encodeURIComponent(number)}/signal`,
  client: navigator.userAgent,
  dial: (url: string, protocol: string) => new WebSocket(url, protocol),
};

export const conference = new Conference(signalling);
/** While nobody has joined here, the page waits to be called. */
export const standby = new Standby(signalling);

export const devices = 'mediaDevices' in navigator
  ? new Devices(address.video, (next) => void conference.replaceTracks(next))
  : null;

export const state = computed<RoomState>(() => {
  if (standing.value !== 'meeting') return standing.value;
  switch (conference.phase.value) {
    case 'in':
      return 'in-meeting';
    case 'reconnecting':
      return 'reconnecting';
    case 'waiting':
      return 'waiting';
    case 'ended':
      return conference.ending.value === '' ? 'left' : conference.ending.value;
    case 'idle':
    case 'joining':
      return 'joining';
  }
});

const keep = (): void => {
  remember(number, { venue, name: venueName.value, auto });
};

/** From an opened page to a meeting or to the words why not. */
export async function begin(): Promise<void> {
  if (number === '') {
    standing.value = 'not-found';
    return;
  }
  if (!isSecureContext || devices === null) {
    standing.value = 'insecure';
    return;
  }
  if (typeof RTCPeerConnection === 'undefined' || !('addTransceiver' in RTCPeerConnection.prototype)) {
    standing.value = 'unsupported';
    return;
  }
  if (!(await admit())) return;
  await prepare();
}

/** Exchanges the link for a cookie, or finds that there is one; waits for an appliance that is not up yet. */
async function admit(): Promise<boolean> {
  const backoff = new Backoff();
  for (;;) {
    try {
      await present();
      unreachable.value = false;
      await nameRoom();
      return true;
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 0;
      if (status === 404) standing.value = 'not-found';
      else if (status === 401 || status === 403) standing.value = address.link === null ? 'unauthorized' : 'link-invalid';
      if (standing.value !== 'linking') return false;
      unreachable.value = true;
      await new Promise((resolve) => setTimeout(resolve, backoff.next()));
    }
  }
}

async function present(): Promise<void> {
  if (address.link === null) {
    await me();
    return;
  }
  await enterDevice(number, address.link.venue, address.link.token);
  keep();
  // The token has done its work; it shall not stay in the address bar or the history.
  history.replaceState(null, '', location.pathname + location.search);
}

/** The room's name before joining is a courtesy: who may not read it joins all the same. */
async function nameRoom(): Promise<void> {
  try {
    const found = await readRoom(number);
    roomName.value = found.name;
    venueName.value ??= found.venues?.find((candidate) => candidate.id === venue)?.name ?? null;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) throw error;
  }
}

/** Opens the devices, then waits for the button or joins at once. */
export async function prepare(): Promise<void> {
  standing.value = 'preparing';
  try {
    await devices?.open();
  } catch (error) {
    if (!(error instanceof PermissionDenied)) throw error;
    standing.value = 'no-permission';
    return;
  }
  if (auto) join();
  else standing.value = 'prejoin';
}

/** Joins with what devices there are; without any it watches. */
export function join(pin = ''): void {
  auto = true;
  keep();
  stream.value ??= new MediaStream();
  standing.value = 'meeting';
  conference.join(stream.value, pin);
}

export function leave(): void {
  auto = false;
  keep();
  conference.leave();
}

const waits: ReadonlySet<RoomState> = new Set(['prejoin', 'left', 'meeting_ended', 'removed']);

effect(() => {
  if (waits.has(state.value)) standby.start();
  else standby.stop();
});

// A machine that nobody operates comes when it is called; so does one that was only left behind by the end of a meeting.
effect(() => {
  const told = standby.told.value;
  if (told?.called === true && (address.kiosk || (auto && state.value === 'meeting_ended'))) queueMicrotask(() => { join(); });
});

effect(() => {
  const found = conference.room.value;
  if (found !== null) roomName.value = found.name;
  const own = conference.venue.value;
  if (own === null) return;
  venue = own.id;
  venueName.value = own.name;
  keep();
});

// A WebSocket does not say why it was refused: after a few refusals, ask whether this device is still known.
effect(() => {
  if (conference.attempts.value < 3) return;
  me().catch((error: unknown) => {
    if (!(error instanceof ApiError) || (error.status !== 401 && error.status !== 403)) return;
    conference.leave();
    standing.value = 'unauthorized';
  });
});
