import { computed, signal } from '@preact/signals';
import { ApiError, me } from '../api/http';
import { sayRefusals } from '../features/meeting/refusal';
import type { ActArguments } from '../rtc/protocol';
import { Conference } from '../rtc/conference';
import { readAddress } from '../room/address';
import { Backoff } from '../rtc/backoff';

export const { number } = readAddress(new URL(location.href));
export const standing = signal<'linking' | 'unauthorized' | 'not-found' | 'seated'>('linking');
export const unreachable = signal(false);

/** Whoever is signed in counts before the venue that this machine may be. */
export const conference = new Conference({
  url: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/rooms/${encodeURIComponent(number)}/signal?as=user`,
  client: navigator.userAgent,
  control: true,
  dial: (url, protocol) => new WebSocket(url, protocol),
});

export const act = (name: string, fields: ActArguments = {}): void => {
  conference.act(name, fields);
};

export const state = computed(() => (standing.value !== 'seated' ? standing.value : conference.phase.value === 'ended' ? conference.ending.value : conference.phase.value));

export const leads = computed(() => conference.meeting.value?.you.chair === true);

export function sit(pin = ''): void {
  standing.value = 'seated';
  conference.join(new MediaStream(), pin);
}

/** Finds out who is here and sits down; waits for an appliance that is not up yet. */
export async function begin(): Promise<void> {
  if (number === '') {
    standing.value = 'not-found';
    return;
  }
  sayRefusals(conference);
  const backoff = new Backoff();
  for (;;) {
    try {
      await me();
      unreachable.value = false;
      sit();
      return;
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 0;
      if (status === 401 || status === 403) {
        standing.value = 'unauthorized';
        return;
      }
      unreachable.value = true;
      await new Promise((resolve) => setTimeout(resolve, backoff.next()));
    }
  }
}
