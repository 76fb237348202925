import type { Terminal } from '../../api/types';

export type TerminalState = 'registered' | 'unregistered' | 'in_call' | 'spare' | 'disabled';

/** What a row is, in one word: rows that are not in service say so, whatever their phone does. */
export function stateOf(terminal: Terminal): TerminalState {
  if (terminal.state !== 'active') return terminal.state;
  if (terminal.in_call) return 'in_call';
  return terminal.registered ? 'registered' : 'unregistered';
}

export interface TerminalFilter {
  text: string;
  site: string;
  state: TerminalState | '';
}

const fields = (terminal: Terminal): string =>
  [terminal.extension, terminal.display_name, terminal.mac, terminal.model, terminal.address, terminal.user_agent, terminal.notes]
    .filter((value) => value !== null)
    .join('\n')
    .toLowerCase();

/** Every word of the search must appear somewhere in the row. A phone in a call is registered too. Sorted by extension, so rows keep their places. */
export function filterTerminals(terminals: readonly Terminal[], filter: TerminalFilter): Terminal[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter((word) => word !== '');
  return terminals
    .filter((terminal) => {
      if (filter.site !== '' && terminal.site !== filter.site) return false;
      const state = stateOf(terminal);
      if (filter.state !== '' && state !== filter.state && !(filter.state === 'registered' && state === 'in_call')) return false;
      const haystack = words.length === 0 ? '' : fields(terminal);
      return words.every((word) => haystack.includes(word));
    })
    .sort((a, b) => a.extension.localeCompare(b.extension, 'en', { numeric: true }));
}
