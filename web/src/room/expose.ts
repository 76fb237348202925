import type { Participant } from '../rtc/protocol';
import { Meter, type Sample, type StreamStats } from '../rtc/stats';
import { conference, state } from './room';

export interface TestView {
  readonly state: string;
  readonly self: string;
  readonly participants: readonly Participant[];
  stats(): Promise<{ publish: Sample | null; subscribe: Sample | null; pictures: (StreamStats & { participant: string; media: string })[] }>;
}

declare global {
  interface Window {
    readonly __linehall: TestView;
  }
}

/** A read-only look into the page, for tests. */
export function expose(): void {
  const meters = { publish: new Meter(), subscribe: new Meter() };
  const view: TestView = {
    get state() {
      return state.value;
    },
    get self() {
      return conference.self.value;
    },
    get participants() {
      return structuredClone(conference.participants.value);
    },
    async stats() {
      const { publish, subscribe } = await conference.stats(meters);
      const pictures = (['camera', 'content'] as const).flatMap((media) => conference.participants.value.flatMap((participant) => {
        const slot = conference.slots.value.picture(participant.id, media);
        const found = subscribe?.streams.find((candidate) => candidate.kind === 'video' && candidate.mid === slot?.mid);
        return found === undefined ? [] : [{ ...found, rid: slot?.rid ?? '', participant: participant.id, media }];
      }));
      return { publish, subscribe, pictures };
    },
  };
  Object.defineProperty(window, '__linehall', { value: Object.freeze(view), writable: false });
}
