import type { ComponentChildren, JSX } from 'preact';
import { Icon, type IconName } from './icon';

/** An empty list says why and how to fill it. */
export function Empty({ icon, title, hint, children }: { icon: IconName; title: string; hint: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty" data-testid="empty">
      <Icon name={icon} />
      <strong>{title}</strong>
      <p>{hint}</p>
      {children}
    </div>
  );
}
