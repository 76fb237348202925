import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { Trace } from '../../api/types';
import { texts } from '../../i18n';
import { useSize } from '../../ui/size';
import { kindOf, type Ladder, ladderOf, type Rung } from './ladder';

const timeWidth = 72;
const leastLane = 132;
const height = 36;
const baseline = 26;

/** The messages of a call as arrows between its ends and the appliance; a press on one shows it whole. */
export function Steps({ trace }: { trace: Trace }): JSX.Element {
  const t = texts.value.records;
  const ladder = useMemo(() => ladderOf(trace, texts.value.product), [trace, texts.value]);
  const [box, size] = useSize<HTMLDivElement>();
  const [open, setOpen] = useState(-1);
  const lane = Math.max(leastLane, Math.floor((size.width - timeWidth - 2) / ladder.lanes.length));
  return (
    <div class="ladder" ref={box} data-testid="ladder">
      <div class="ladder-inner" style={{ width: `${String(timeWidth + lane * ladder.lanes.length)}px` }}>
        <div class="ladder-head" style={{ paddingLeft: `${String(timeWidth)}px` }}>
          {ladder.lanes.map((one) => (
            <span key={one.party} class={one.party < 0 ? 'own' : ''} style={{ width: `${String(lane)}px` }} title={one.address}>
              <strong>{one.name}</strong>
              <small class="mono">{one.address}</small>
            </span>
          ))}
        </div>
        <ol>
          {ladder.rungs.map((rung, index) => (
            <li key={index}>
              <button
                type="button" class={`rung ${kindOf(rung.step.summary)}`} aria-expanded={open === index} data-testid="ladder-step"
                aria-label={t.message(ladder.lanes[rung.from]?.name ?? '', ladder.lanes[rung.to]?.name ?? '', rung.step.summary)}
                onClick={() => { setOpen(open === index ? -1 : index); }}
              >
                <span class="rung-time mono">{offset(rung.after)}</span>
                <Arrow ladder={ladder} rung={rung} lane={lane} repeated={t.repeated} />
              </button>
              {open === index && <pre class="message mono" data-testid="ladder-message">{rung.step.text}</pre>}
            </li>
          ))}
        </ol>
      </div>
    </div>
  );
}

/** Time since the first message: "0.000", "12.345", "3:04.5". */
function offset(ms: number): string {
  if (ms < 60_000) return (ms / 1000).toFixed(3);
  const minutes = Math.floor(ms / 60_000);
  return `${String(minutes)}:${((ms % 60_000) / 1000).toFixed(1).padStart(4, '0')}`;
}

function Arrow({ ladder, rung, lane, repeated }: { ladder: Ladder; rung: Rung; lane: number; repeated: string }): JSX.Element {
  const middle = (index: number): number => lane * index + lane / 2;
  const width = lane * ladder.lanes.length;
  const [from, to] = [middle(rung.from), middle(rung.to)];
  const head = to > from ? -8 : 8;
  const label = rung.step.repeated ? `${rung.step.summary} · ${repeated}` : rung.step.summary;
  const room = Math.max(10, Math.floor((Math.abs(to - from) - 16) / 7));
  return (
    <svg width={width} height={height} aria-hidden="true" class={rung.step.repeated ? 'again' : ''}>
      {ladder.lanes.map((one, index) => <line key={one.party} class="lane" x1={middle(index)} x2={middle(index)} y1={0} y2={height} />)}
      <line class="shaft" x1={from} x2={to + head / 2} y1={baseline} y2={baseline} />
      <path class="point" d={`M${String(to)} ${String(baseline)}l${String(head)} -4.5v9z`} />
      <text x={(from + to) / 2} y={baseline - 8} text-anchor="middle">{label.length > room ? `${label.slice(0, room - 1)}…` : label}</text>
    </svg>
  );
}
