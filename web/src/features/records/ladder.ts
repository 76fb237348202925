import type { Trace, TraceStep } from '../../api/types';

/** A lane of the ladder: one end, or the appliance itself. */
export interface Lane {
  /** Index into the trace's parties, -1 for the appliance. */
  party: number;
  name: string;
  address: string;
}

/** A message between two lanes. */
export interface Rung {
  from: number;
  to: number;
  step: TraceStep;
  /** Milliseconds since the first message. */
  after: number;
}

export interface Ladder {
  lanes: Lane[];
  rungs: Rung[];
}

/** The caller stands at the left of the appliance, everybody else at its right, in the order in which they come in. */
export function ladderOf(trace: Trace, appliance: string): Ladder {
  const lanes: Lane[] = trace.parties.map((party, index) => ({ party: index, name: party.name === '' ? party.address : party.name, address: `${party.transport} ${party.address}` }));
  lanes.splice(1, 0, { party: -1, name: appliance, address: '' });
  const laneOf = (party: number): number => (party === 0 ? 0 : party + 1);
  const start = trace.steps.length === 0 ? 0 : Date.parse(trace.steps[0]?.at ?? '');
  const own = Math.min(1, lanes.length - 1);
  return {
    lanes,
    rungs: trace.steps
      .filter((step) => step.party >= 0 && step.party < trace.parties.length)
      .map((step) => {
        const end = laneOf(step.party);
        return { from: step.received ? end : own, to: step.received ? own : end, step, after: Date.parse(step.at) - start };
      }),
  };
}

export type RungKind = 'request' | 'provisional' | 'success' | 'failure';

/** What a message is, for its colour: a summary begins with the method or with the code. */
export function kindOf(summary: string): RungKind {
  const code = Number.parseInt(summary, 10);
  if (!Number.isFinite(code)) return 'request';
  if (code < 200) return 'provisional';
  return code < 300 ? 'success' : 'failure';
}
