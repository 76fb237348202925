import type { ComponentChildren, JSX } from 'preact';
import { Icon, type IconName } from './icon';

export type Tone = 'fine' | 'busy' | 'warning' | 'failure' | 'muted';

const icons: Record<Tone, IconName> = { fine: 'check', busy: 'activity', warning: 'warning', failure: 'cross', muted: 'dashed' };

export function Badge({ tone, icon, children, testid }: { tone: Tone; icon?: IconName; children: ComponentChildren; testid?: string }): JSX.Element {
  return (
    <span class={`badge ${tone}`} data-testid={testid} data-tone={tone}>
      <Icon name={icon ?? icons[tone]} />
      {children}
    </span>
  );
}
