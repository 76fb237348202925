import type { JSX } from 'preact';
import { useRef, useState } from 'preact/hooks';
import type { Terminal } from '../../api/types';
import { formatSpan, texts } from '../../i18n';
import { Badge, type Tone } from '../../ui/badge';
import { secondsSince } from '../../ui/clock';
import type { IconName } from '../../ui/icon';
import { windowOf } from '../../ui/rows';
import { useSize } from '../../ui/size';
import { siteName } from '../lines/sites';
import { stateOf, type TerminalState } from './filter';

const rowRem = 3;
const tones: Record<TerminalState, Tone> = { registered: 'fine', unregistered: 'failure', in_call: 'busy', spare: 'muted', disabled: 'muted' };
const icons: Partial<Record<TerminalState, IconName>> = { in_call: 'call' };

export function TerminalBadge({ terminal }: { terminal: Terminal }): JSX.Element {
  const state = stateOf(terminal);
  const icon = icons[state];
  return <Badge tone={tones[state]} {...(icon === undefined ? {} : { icon })}>{texts.value.terminals.states[state]}</Badge>;
}

/** Only the rows in view exist; arrows move between rows, Enter opens one. */
export function TerminalTable({ rows, onOpen }: { rows: readonly Terminal[]; onOpen: (terminal: Terminal) => void }): JSX.Element {
  const t = texts.value.terminals;
  const [box, size] = useSize<HTMLDivElement>();
  const [scrollTop, setScrollTop] = useState(0);
  const [current, setCurrent] = useState(0);
  const body = useRef<HTMLTableSectionElement>(null);
  const rowHeight = rowRem * Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const view = windowOf(rows.length, rowHeight, scrollTop, size.height);
  const active = Math.min(current, rows.length - 1);

  const move = (event: KeyboardEvent, to: number): void => {
    event.preventDefault();
    const index = Math.max(0, Math.min(rows.length - 1, to));
    setCurrent(index);
    const element = box.current;
    if (element !== null) {
      const top = index * rowHeight;
      if (top < element.scrollTop) element.scrollTop = top;
      else if (top + 2 * rowHeight > element.scrollTop + size.height) element.scrollTop = top + 2 * rowHeight - size.height;
    }
    setTimeout(() => body.current?.querySelector<HTMLElement>(`[data-index="${String(index)}"]`)?.focus({ preventScroll: true }), 30);
  };
  const onKey = (event: KeyboardEvent): void => {
    const page = Math.max(1, Math.floor(size.height / rowHeight) - 1);
    const steps: Record<string, number> = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: rows.length - 1 };
    const to = steps[event.key];
    const row = rows[active];
    if (to !== undefined) move(event, to);
    else if (event.key === 'Enter' && row !== undefined) onOpen(row);
  };

  return (
    <div class="table-box" ref={box} onScroll={(event) => { setScrollTop(event.currentTarget.scrollTop); }}>
      <table class="table terminals-table" data-testid="terminals-table" aria-rowcount={rows.length + 1}>
        <thead>
          <tr>
            <th scope="col" class="w-ext">{t.extension}</th>
            <th scope="col" class="w-name">{t.name}</th>
            <th scope="col" class="w-site">{t.site}</th>
            <th scope="col" class="w-state">{t.state}</th>
            <th scope="col" class="w-since">{t.since}</th>
            <th scope="col" class="w-address">{t.address}</th>
            <th scope="col" class="w-agent">{t.userAgent}</th>
          </tr>
        </thead>
        <tbody ref={body} onKeyDown={onKey}>
          {view.before > 0 && <Spacer height={view.before} />}
          {rows.slice(view.first, view.last).map((terminal, offset) => {
            const index = view.first + offset;
            return (
              <tr
                key={terminal.extension} tabIndex={index === active ? 0 : -1} data-index={index} aria-rowindex={index + 2} data-testid={`terminal-row-${terminal.extension}`} data-state={stateOf(terminal)}
                onClick={() => {
                  setCurrent(index);
                  onOpen(terminal);
                }}
              >
                <td><strong>{terminal.extension}</strong></td>
                <td class="clip">{terminal.display_name}</td>
                <td class="clip">{siteName(terminal.site)}</td>
                <td><TerminalBadge terminal={terminal} /></td>
                <td>{terminal.since === null ? '–' : formatSpan(secondsSince(terminal.since))}</td>
                <td class="clip mono">{terminal.address ?? '–'}{terminal.seen_site !== null && terminal.seen_site !== '' && terminal.seen_site !== terminal.site && <em class="tone-warning"> {t.elsewhere(siteName(terminal.seen_site))}</em>}</td>
                <td class="clip" title={terminal.user_agent ?? ''}>{terminal.user_agent ?? terminal.model}</td>
              </tr>
            );
          })}
          {view.after > 0 && <Spacer height={view.after} />}
        </tbody>
      </table>
    </div>
  );
}

function Spacer({ height }: { height: number }): JSX.Element {
  return <tr class="spacer" aria-hidden="true"><td colSpan={7} style={{ height: `${String(height)}px` }} /></tr>;
}
