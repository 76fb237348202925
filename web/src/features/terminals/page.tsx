import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { topics } from '../../api/live';
import type { Terminal } from '../../api/types';
import { formatNumber, texts } from '../../i18n';
import { Empty } from '../../ui/empty';
import { Icon } from '../../ui/icon';
import { Details } from './details';
import { filterTerminals, type TerminalFilter, type TerminalState } from './filter';
import { TerminalTable } from './table';

const filter = signal<TerminalFilter>({ text: '', site: '', state: '' });
const chosen = signal('');
const states: readonly TerminalState[] = ['registered', 'unregistered', 'in_call', 'spare', 'disabled'];

const change = (part: Partial<TerminalFilter>): void => {
  filter.value = { ...filter.value, ...part };
};

export function Terminals(): JSX.Element {
  const t = texts.value.terminals;
  const all = topics.terminals.value?.terminals ?? null;
  if (all === null) return <div class="panel" aria-busy="true" />;
  if (all.length === 0) return <div class="panel"><Empty icon="phone" title={t.empty} hint={t.emptyHint} /></div>;
  const rows = filterTerminals(all, filter.value);
  const selected = all.find((terminal) => terminal.extension === chosen.value);
  return (
    <section class="panel fill terminals">
      <Filters shown={rows.length} total={all.length} />
      {rows.length === 0
        ? (
          <Empty icon="search" title={t.none} hint={t.noneHint}>
            <button type="button" class="button" onClick={() => { change({ text: '', site: '', state: '' }); }}>{t.clear}</button>
          </Empty>
        )
        : <TerminalTable rows={rows} onOpen={(terminal: Terminal) => { chosen.value = terminal.extension; }} />}
      {selected !== undefined && <Details terminal={selected} onClose={() => { chosen.value = ''; }} />}
    </section>
  );
}

function Filters({ shown, total }: { shown: number; total: number }): JSX.Element {
  const t = texts.value.terminals;
  const search = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== '/' || event.target instanceof HTMLInputElement) return;
      event.preventDefault();
      search.current?.focus();
    };
    document.addEventListener('keydown', onKey);
    return () => {
      document.removeEventListener('keydown', onKey);
    };
  }, []);
  return (
    <div class="filters" role="search">
      <div class="input-box">
        <Icon name="search" />
        <input
          class="input" type="search" ref={search} value={filter.value.text} placeholder={t.search} aria-label={t.search} title={t.searchHint} data-testid="terminals-search"
          onInput={(event) => { change({ text: event.currentTarget.value }); }}
        />
      </div>
      <select class="select" aria-label={t.site} value={filter.value.site} data-testid="terminals-site" onChange={(event) => { change({ site: event.currentTarget.value }); }}>
        <option value="">{t.allSites}</option>
        {(topics.status.value?.sites ?? []).map((site) => <option key={site.id} value={site.id}>{site.name}</option>)}
      </select>
      <select
        class="select" aria-label={t.state} value={filter.value.state} data-testid="terminals-state"
        onChange={(event) => { change({ state: states.find((state) => state === event.currentTarget.value) ?? '' }); }}
      >
        <option value="">{t.allStates}</option>
        {states.map((state) => <option key={state} value={state}>{t.states[state]}</option>)}
      </select>
      <span class="filters-count muted" role="status" data-testid="terminals-count">{t.count(formatNumber(shown), formatNumber(total))}</span>
      <span class="filters-keys muted small">{t.openHint}</span>
    </div>
  );
}
