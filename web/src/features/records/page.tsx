import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { records as fetchRecords } from '../../api/http';
import type { Cdr } from '../../api/types';
import { formatDecimal, formatDuration, formatMomentSeconds, formatNumber, texts } from '../../i18n';
import { Empty } from '../../ui/empty';
import { Icon } from '../../ui/icon';
import { siteName } from '../lines/sites';
import { CallDetails } from './call';
import { filterRecords, type RecordFilter } from './filter';
import { ResultBadge, results } from './result';

const shown = 500;
const again = 15_000;

const list = signal<Cdr[] | null>(null);
const failed = signal(false);
const filter = signal<RecordFilter>({ text: '', result: '' });
const chosen = signal('');

const change = (part: Partial<RecordFilter>): void => {
  filter.value = { ...filter.value, ...part };
};

async function refresh(): Promise<void> {
  try {
    list.value = await fetchRecords(shown);
    failed.value = false;
  } catch {
    failed.value = true;
  }
}

/** The calls that ended, newest first; each opens to its legs and its messages. */
export function Records(): JSX.Element {
  const t = texts.value.records;
  useEffect(() => {
    void refresh();
    const timer = setInterval(() => { if (!document.hidden) void refresh(); }, again);
    return () => {
      clearInterval(timer);
      list.value = null; // whoever signs in next sees their own records only
    };
  }, []);
  const all = list.value;
  if (all === null) {
    return failed.value
      ? <div class="panel"><Empty icon="offline" title={t.loadFailed} hint={texts.value.shell.connecting} /></div>
      : <div class="panel" aria-busy="true" />;
  }
  if (all.length === 0) return <div class="panel"><Empty icon="records" title={t.empty} hint={t.emptyHint} /></div>;
  const rows = filterRecords(all, filter.value, siteName);
  const open = all.find((one) => one.id === chosen.value);
  return (
    <section class="panel fill">
      <Filters rows={rows.length} total={all.length} />
      {rows.length === 0
        ? (
          <Empty icon="search" title={t.none} hint={texts.value.terminals.noneHint}>
            <button type="button" class="button" onClick={() => { change({ text: '', result: '' }); }}>{texts.value.terminals.clear}</button>
          </Empty>
        )
        : <Table rows={rows} />}
      {open !== undefined && <CallDetails id={open.id} title={`${open.from} → ${open.to}`} onClose={() => { chosen.value = ''; }} />}
    </section>
  );
}

function Filters({ rows, total }: { rows: number; total: number }): JSX.Element {
  const t = texts.value.records;
  return (
    <div class="filters" role="search">
      <div class="input-box">
        <Icon name="search" />
        <input
          class="input" type="search" value={filter.value.text} placeholder={t.search} aria-label={t.search} data-testid="records-search"
          onInput={(event) => { change({ text: event.currentTarget.value }); }}
        />
      </div>
      <select
        class="select" aria-label={t.result} value={filter.value.result} data-testid="records-result"
        onChange={(event) => { change({ result: results.find((one) => one === event.currentTarget.value) ?? '' }); }}
      >
        <option value="">{t.allResults}</option>
        {results.map((one) => <option key={one} value={one}>{t.results[one]}</option>)}
      </select>
      <span class="filters-count muted" role="status" data-testid="records-count">{t.count(formatNumber(rows), formatNumber(total))}</span>
    </div>
  );
}

function Table({ rows }: { rows: readonly Cdr[] }): JSX.Element {
  const t = texts.value.records;
  return (
    <div class="table-box">
      <table class="table records-table" data-testid="records-table">
        <thead>
          <tr>
            <th scope="col">{t.started}</th>
            <th scope="col">{texts.value.calls.caller}</th>
            <th scope="col">{texts.value.calls.callee}</th>
            <th scope="col">{t.result}</th>
            <th scope="col" class="number">{t.duration}</th>
            <th scope="col" class="number">{t.quality}</th>
            <th scope="col">{t.reason}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((r) => <Row key={r.id} record={r} />)}
        </tbody>
      </table>
    </div>
  );
}

function Row({ record: r }: { record: Cdr }): JSX.Element {
  const open = (): void => { chosen.value = r.id; };
  const low = [r.mos_caller, r.mos_callee].filter((mos) => mos !== null);
  return (
    <tr
      tabIndex={0} data-testid="record-row" data-id={r.id} data-result={r.result} onClick={open}
      onKeyDown={(event) => {
        if (event.key === 'Enter') open();
      }}
    >
      <td>{formatMomentSeconds(new Date(r.started_at))}</td>
      <td><Number number={r.from} site={r.from_site} /></td>
      <td><Number number={r.to === '' ? r.dialled : r.to} site={r.to_site} via={r.to !== '' && r.dialled !== r.to ? r.dialled : ''} /></td>
      <td><ResultBadge result={r.result} /></td>
      <td class="number">{r.answered_at === null ? '–' : formatDuration(r.duration_seconds)}</td>
      <td class="number">{low.length === 0 ? '–' : formatDecimal(Math.min(...low))}</td>
      <td title={r.reason}>{r.reason}</td>
    </tr>
  );
}

function Number({ number, site, via = '' }: { number: string; site: string; via?: string }): JSX.Element {
  return (
    <span class="party">
      <strong>{number}</strong>
      {via !== '' && <span class="muted small">{texts.value.records.dialledAs(via)}</span>}
      {site !== '' && <span class="muted small">{siteName(site)}</span>}
    </span>
  );
}
