import { effect, signal } from '@preact/signals';
import { topics } from '../api/live';
import { usedBps } from '../features/lines/gauge';

/** What this page has seen since it was opened: the appliance's feed tells the present only. */
const keepCallSamples = 40;
const keepLineSamples = 300;

export const callQuality = signal<ReadonlyMap<string, readonly number[]>>(new Map());

export interface LineSample {
  at: number;
  upReserved: number;
  upMeasured: number;
  downReserved: number;
  downMeasured: number;
}

export const lineHistory = signal<ReadonlyMap<string, readonly LineSample[]>>(new Map());

export function keepHistory(): void {
  effect(() => {
    const calls = topics.calls.value?.calls ?? [];
    const before = callQuality.peek();
    callQuality.value = new Map(
      calls.map((call) => {
        const known = before.get(call.id) ?? [];
        return [call.id, call.mos === null ? known : [...known, call.mos].slice(-keepCallSamples)];
      }),
    );
  });
  effect(() => {
    const lines = topics.lines.value?.lines ?? [];
    const before = lineHistory.peek();
    const at = Date.now();
    lineHistory.value = new Map(
      lines.map((line) => [
        line.site,
        [...(before.get(line.site) ?? []), {
          at,
          upReserved: usedBps(line.up),
          upMeasured: line.up.measured_bps,
          downReserved: usedBps(line.down),
          downMeasured: line.down.measured_bps,
        }].slice(-keepLineSamples),
      ]),
    );
  });
}
