import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError, capture, record, trace } from '../../api/http';
import type { Cdr, Trace } from '../../api/types';
import { mayHangUp } from '../../console/session';
import { formatDecimal, formatDuration, formatMomentSeconds, texts } from '../../i18n';
import { Drawer } from '../../ui/drawer';
import { Icon } from '../../ui/icon';
import { siteName } from '../lines/sites';
import { Recordings } from './recordings';
import { ResultBadge } from './result';
import { Steps } from './steps';

/** null: there is none (the call goes on, or the messages are not kept any more). */
type Loaded<T> = 'loading' | 'failed' | T | null;

async function load<T>(what: Promise<T>): Promise<Loaded<T>> {
  try {
    return await what;
  } catch (error) {
    return error instanceof ApiError && error.status === 404 ? null : 'failed';
  }
}

/** Everything about one call, going on or ended: how it went, each leg, and its messages as a ladder. */
export function CallDetails({ id, title, onClose }: { id: string; title: string; onClose: () => void }): JSX.Element {
  const t = texts.value.records;
  const [kept, setKept] = useState<Loaded<Cdr>>('loading');
  const [messages, setMessages] = useState<Loaded<Trace>>('loading');
  useEffect(() => {
    let current = true;
    void load(record(id)).then((found) => { if (current) setKept(found); });
    void load(trace(id)).then((found) => { if (current) setMessages(found); });
    return () => { current = false; };
  }, [id]);
  return (
    <Drawer title={title} onClose={onClose} testid="call-details" wide>
      {kept === 'failed' && <p class="tone-failure" role="alert">{t.loadFailed}</p>}
      {typeof kept === 'object' && kept !== null && <Facts record={kept} />}
      {kept !== 'loading' && <Recordings call={id} kept={typeof kept === 'object' ? kept : null} />}
      <div class="ladder-title">
        <h3>{t.ladder}</h3>
        {mayHangUp() && typeof messages === 'object' && messages !== null && (
          <a class="button small" href={capture(id)} download data-testid="call-capture"><Icon name="download" />{t.capture}</a>
        )}
      </div>
      <p class="muted small">{t.ladderHint}</p>
      {messages === 'loading' && <p class="muted" aria-busy="true">{texts.value.shell.loading}</p>}
      {messages === 'failed' && <p class="tone-failure" role="alert">{t.loadFailed}</p>}
      {messages === null && <p class="muted">{t.noLadder}</p>}
      {typeof messages === 'object' && messages !== null && <Steps trace={messages} />}
    </Drawer>
  );
}

function Facts({ record: r }: { record: Cdr }): JSX.Element {
  const t = texts.value.records;
  const moment = (at: string): string => formatMomentSeconds(new Date(at));
  const paths: Record<string, string> = texts.value.calls.paths;
  const enders: Record<string, string> = t.enders;
  const encryption = r.srtp ? (r.srtp_here ? t.encryptedHere : t.encrypted) : r.srtp_caller ? t.encryptedCaller : r.srtp_callee ? t.encryptedCallee : '';
  const facts: [string, string][] = [
    [t.started, moment(r.started_at)],
    [t.answered, r.answered_at === null ? '' : moment(r.answered_at)],
    [t.ended, `${moment(r.ended_at)} · ${enders[r.ended_by] ?? r.ended_by}`],
    [t.duration, r.answered_at === null ? '' : formatDuration(r.duration_seconds)],
    [t.reason, r.reason],
    [t.dialled, r.dialled === r.to ? '' : r.dialled],
    [t.sites, [r.from_site, r.to_site].filter((site) => site !== '').map(siteName).join(' → ')],
    [texts.value.calls.path, paths[r.path] ?? r.path],
    [texts.value.calls.codec, [r.codec, encryption].filter((part) => part !== '').join(' · ')],
    [t.quality, [r.mos_caller, r.mos_callee].map((mos) => (mos === null ? '–' : formatDecimal(mos))).join(' / ')],
    [t.worst, [r.seconds_caller, r.seconds_callee].map((seconds) => (seconds === undefined ? '–' : formatDecimal(seconds.worst))).join(' / ')],
    [t.trunk, r.trunk],
    [t.overflow, r.overflow === '' ? '' : siteName(r.overflow)],
    [t.forwards, r.forwards.map((forward) => `${forward.from} → ${forward.to} (${forward.reason})`).join('；')],
    [t.transferredBy, r.transferred_by],
    [t.pickedUpBy, r.picked_up_by],
    [t.joinedBy, r.guests.map((guest) => `${guest.extension} (${t.joinedModes[guest.mode]})`).join('；')],
    [t.joinedCall, r.joined_to],
    [t.preemptedBy, r.preempted_by],
    [t.linked, r.linked_to.join(' ')],
  ];
  return (
    <>
      <p class="drawer-state"><ResultBadge result={r.result} /> <span class="muted">SIP {r.code}</span></p>
      <dl class="facts call-facts">
        {facts.filter(([, value]) => value !== '' && value !== '– / –').flatMap(([name, value]) => [<dt key={`${name}-name`}>{name}</dt>, <dd key={name}>{value}</dd>])}
      </dl>
      <Legs record={r} />
      <Reports record={r} />
    </>
  );
}

function Legs({ record: r }: { record: Cdr }): JSX.Element | null {
  const t = texts.value.records;
  const legs = r.legs ?? [];
  if (legs.length === 0) return null;
  return (
    <>
      <h3>{t.legs}</h3>
      <div class="table-box">
        <table class="table small-table" data-testid="call-legs-table">
          <thead><tr><th scope="col">{t.stage}</th><th scope="col">{t.rang}</th><th scope="col">{t.contact}</th><th scope="col">{t.code}</th></tr></thead>
          <tbody>
            {legs.map((leg, index) => (
              <tr key={index}>
                <td>{leg.stage}</td>
                <td><strong>{leg.extension}</strong>{leg.trunk !== '' && <span class="muted"> {leg.trunk} {leg.gateway}</span>}</td>
                <td class="mono clip" title={leg.contact}>{leg.contact}</td>
                <td>{leg.code === 0 ? '–' : leg.code}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Reports({ record: r }: { record: Cdr }): JSX.Element | null {
  const t = texts.value.records;
  if (r.reports.length === 0) return null;
  return (
    <>
      <h3>{t.reports}</h3>
      <div class="table-box">
        <table class="table small-table">
          <thead><tr><th scope="col">{texts.value.terminals.extension}</th><th scope="col">MOS</th><th scope="col">{texts.value.calls.lost}</th><th scope="col">{texts.value.calls.jitter}</th><th scope="col">{t.roundTrip}</th></tr></thead>
          <tbody>
            {r.reports.map((report, index) => (
              <tr key={index}>
                <td><strong>{report.extension}</strong></td>
                <td>{report.mos === null ? '–' : formatDecimal(report.mos)}</td>
                <td>{formatDecimal(report.loss_percent)} %</td>
                <td>{formatDecimal(report.jitter_ms)} ms</td>
                <td>{formatDecimal(report.round_trip_ms)} ms</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
