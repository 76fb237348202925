import type { JSX } from 'preact';
import { topics } from '../../api/live';
import type { Status } from '../../api/types';
import { formatNumber, formatSpan, texts } from '../../i18n';
import { Badge, type Tone } from '../../ui/badge';
import { secondsSince } from '../../ui/clock';
import { Icon, type IconName } from '../../ui/icon';
import { CallList } from '../calls/brief';
import { explain } from './alarm';
import { StarMap } from './map';

export function Overview(): JSX.Element {
  const status = topics.status.value;
  if (status === null) return <div class="overview" data-testid="console-overview" aria-busy="true" />;
  return (
    <div class="overview" data-testid="console-overview">
      <Counters status={status} />
      <StarMap sites={status.sites} lines={topics.lines.value?.lines ?? []} />
      <div class="overview-side">
        <Alarms status={status} />
        <CallList />
      </div>
    </div>
  );
}

function Counters({ status }: { status: Status }): JSX.Element {
  const t = texts.value.overview;
  const calls = topics.calls.value?.calls ?? [];
  const crossing = calls.filter((call) => call.from.site !== call.to.site).length;
  const rooms = (topics.rooms.value?.rooms ?? []).filter((room) => (room.participants ?? []).length > 0);
  const first = rooms[0];
  const venues = first?.venues ?? [];
  const missing = status.terminals_total - status.terminals_registered;
  const urgent = status.alarms.some((alarm) => alarm.severity === 'critical');
  return (
    <div class="counters">
      <Counter icon="phone" href="/terminals" name={t.registered} value={formatNumber(status.terminals_registered)} hint={t.of(formatNumber(status.terminals_total), missing)} tone={missing > 0 ? 'warning' : 'fine'} testid="counter-terminals" />
      <Counter icon="call" href="/calls" name={t.calls} value={formatNumber(status.calls_active)} hint={t.callsHint(formatNumber(crossing))} tone="busy" testid="counter-calls" />
      <Counter
        icon="video" href="/rooms" testid="counter-meetings" tone={first === undefined ? 'muted' : 'busy'}
        name={first === undefined ? t.meetings : `${t.meetings} · ${first.name}`}
        value={first === undefined ? '0' : `${formatNumber(venues.filter((venue) => venue.present).length)}/${formatNumber(venues.length)}`}
        hint={first === undefined ? t.noMeeting : t.venues}
      />
      <Counter icon="bell" href="#alarms" name={t.alarms} value={formatNumber(status.alarms.length)} hint={t.alarmCount(status.alarms.length)} tone={urgent ? 'failure' : status.alarms.length > 0 ? 'warning' : 'fine'} testid="counter-alarms" />
    </div>
  );
}

function Counter({ icon, href, name, value, hint, tone, testid }: {
  icon: IconName; href: string; name: string; value: string; hint: string; tone: Tone; testid: string;
}): JSX.Element {
  return (
    <a class="panel counter" href={href} data-testid={testid}>
      <span class={`counter-icon ${tone}`}><Icon name={icon} /></span>
      <span class="counter-name">{name}</span>
      <strong class="counter-value">{value}</strong>
      <span class="counter-hint muted">{hint}</span>
    </a>
  );
}

const severities: Record<string, Tone> = { critical: 'failure', warning: 'warning', info: 'busy' };

function Alarms({ status }: { status: Status }): JSX.Element {
  const t = texts.value;
  return (
    <section class="panel alarms" id="alarms" aria-labelledby="alarms-title" data-testid="alarms">
      <div class="panel-head">
        <h2 id="alarms-title">{t.overview.alarms}</h2>
      </div>
      {status.alarms.length === 0 && (
        <p class="all-well"><Badge tone="fine">{t.overview.noAlarms}</Badge> {t.overview.noAlarmsHint}</p>
      )}
      <ul>
        {status.alarms.map((alarm) => {
          const words = explain(alarm, status.sites);
          return (
            <li key={alarm.id} class="alarm" data-testid="alarm" data-code={alarm.code}>
              <Badge tone={severities[alarm.severity] ?? 'warning'}>{t.alarm.severity[alarm.severity]}</Badge>
              <span class="muted small">{t.time.ago(formatSpan(secondsSince(alarm.since)))}</span>
              <a href={words.place}><strong>{words.what}</strong></a>
              <p class="muted small">{words.act}</p>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
