import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { programmes } from '../../api/http';
import type { Programme } from '../../api/types';
import { formatDuration, formatMomentSeconds, nameOf, texts } from '../../i18n';
import { Badge } from '../../ui/badge';
import { Empty } from '../../ui/empty';
import { Icon } from '../../ui/icon';
import { Details } from './details';
import { formatSize } from './size';

const again = 10_000;

const list = signal<Programme[] | null>(null);
const failed = signal(false);
const text = signal('');
const number = signal('');
const chosen = signal('');

async function refresh(): Promise<void> {
  try {
    list.value = await programmes();
    failed.value = false;
  } catch {
    failed.value = true;
  }
}

const matches = (one: Programme): boolean =>
  (number.value === '' || one.room === number.value) && `${one.room} ${one.room_name} ${one.started_by.zh} ${one.started_by.en}`.toLowerCase().includes(text.value.trim().toLowerCase());

/** The recorded meetings, newest first; each opens to its player. */
export function Programmes(): JSX.Element {
  const t = texts.value.programmes;
  useEffect(() => {
    void refresh();
    const timer = setInterval(() => { if (!document.hidden) void refresh(); }, again);
    return () => {
      clearInterval(timer);
      list.value = null; // whoever signs in next sees their own only
    };
  }, []);
  const all = list.value;
  if (all === null) {
    return failed.value
      ? <div class="panel"><Empty icon="offline" title={t.failed} hint={texts.value.shell.connecting} /></div>
      : <div class="panel" aria-busy="true" />;
  }
  if (all.length === 0) return <div class="panel"><Empty icon="film" title={t.empty} hint={t.emptyHint} /></div>;
  const rows = all.filter(matches);
  const open = all.find((one) => one.id === chosen.value);
  return (
    <section class="panel fill">
      <Filters rooms={[...new Map(all.map((one) => [one.room, one.room_name]))]} />
      {rows.length === 0 ? <Empty icon="search" title={t.none} hint={texts.value.terminals.noneHint} /> : <Table rows={rows} />}
      {open !== undefined && (
        <Details
          id={open.id} title={`${open.room_name} ${open.room}`} onClose={() => { chosen.value = ''; }}
          onDeleted={() => {
            chosen.value = '';
            void refresh();
          }}
        />
      )}
    </section>
  );
}

function Filters({ rooms }: { rooms: readonly [string, string][] }): JSX.Element {
  const t = texts.value.programmes;
  return (
    <div class="filters" role="search">
      <div class="input-box">
        <Icon name="search" />
        <input class="input" type="search" value={text.value} placeholder={t.search} aria-label={t.search} data-testid="programmes-search" onInput={(event) => { text.value = event.currentTarget.value; }} />
      </div>
      <select class="select" aria-label={t.room} value={number.value} data-testid="programmes-room" onChange={(event) => { number.value = event.currentTarget.value; }}>
        <option value="">{t.allRooms}</option>
        {rooms.map(([one, name]) => <option key={one} value={one}>{name} {one}</option>)}
      </select>
    </div>
  );
}

function Table({ rows }: { rows: readonly Programme[] }): JSX.Element {
  const t = texts.value.programmes;
  return (
    <div class="table-box">
      <table class="table" data-testid="programmes-table">
        <thead>
          <tr>
            <th scope="col">{t.started}</th>
            <th scope="col">{t.room}</th>
            <th scope="col">{t.state}</th>
            <th scope="col" class="number">{t.length}</th>
            <th scope="col">{t.by}</th>
            <th scope="col" class="number">{t.size}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((one) => (
            <tr
              key={one.id} tabIndex={0} data-testid="programme-row" data-id={one.id} data-state={one.state} onClick={() => { chosen.value = one.id; }}
              onKeyDown={(event) => {
                if (event.key === 'Enter') chosen.value = one.id;
              }}
            >
              <td>{formatMomentSeconds(new Date(one.started_at))}</td>
              <td>{one.room_name} <span class="muted">{one.room}</span></td>
              <td>{one.state === 'recording' ? <Badge tone="busy" icon="record">{t.goesOn}</Badge> : <Badge tone="muted">{t.kept}</Badge>}</td>
              <td class="number">{formatDuration(one.duration_seconds)}</td>
              <td>{nameOf(one.started_by)}</td>
              <td class="number">{one.size_bytes === 0 ? '–' : formatSize(one.size_bytes)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
