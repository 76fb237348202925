import type { JSX } from 'preact';
import type { Terminal } from '../../api/types';
import { formatMoment, formatNumber, texts } from '../../i18n';
import { Drawer } from '../../ui/drawer';
import { siteName } from '../lines/sites';
import { TerminalBadge } from './table';

const moment = (time: string | null): string => (time === null ? texts.value.time.never : formatMoment(new Date(time)));

export function Details({ terminal, onClose }: { terminal: Terminal; onClose: () => void }): JSX.Element {
  const t = texts.value.terminals;
  const facts: [string, string | null][] = [
    [t.site, siteName(terminal.site)],
    [t.row, t.rowStates[terminal.state]],
    [t.since, terminal.since === null ? null : moment(terminal.since)],
    [t.address, terminal.address],
    [t.transport, terminal.transport],
    [t.userAgent, terminal.user_agent],
    [t.expires, terminal.expires_at === null ? null : moment(terminal.expires_at)],
    [t.bindings, formatNumber(terminal.bindings)],
    [t.model, terminal.model],
    [t.mac, terminal.mac],
    [t.template, terminal.template],
    [t.provisioned, moment(terminal.provisioned_at)],
    [t.notes, terminal.notes],
  ];
  return (
    <Drawer title={`${terminal.extension} ${terminal.display_name}`} onClose={onClose} testid="terminal-details">
      <p class="drawer-state"><TerminalBadge terminal={terminal} /></p>
      <dl class="facts">
        {facts.filter(([, value]) => value !== null && value !== '').flatMap(([name, value]) => [
          <dt key={`${name}-name`}>{name}</dt>,
          <dd key={name}>{value}</dd>,
        ])}
      </dl>
    </Drawer>
  );
}
