import type { JSX } from 'preact';
import { Icon, type IconName } from '../ui/icon';
import { leads } from './seat';

/** A button that only the chair can press; `on` says that what it does is in force. */
export function Key({ icon, text, on, onClick, testid, bare = false, hint = '', danger = false, anyone = false, disabled = false }: {
  icon: IconName; text: string; on?: boolean; onClick: () => void; testid: string; bare?: boolean; hint?: string; danger?: boolean; anyone?: boolean; disabled?: boolean;
}): JSX.Element {
  return (
    <button
      type="button" class={`button key-act${on === true ? ' on' : ''}${bare ? ' icon-only' : ''}${danger ? ' danger' : ''}`} aria-pressed={on} aria-label={bare ? text : undefined} title={bare ? text : hint === '' ? undefined : hint}
      disabled={disabled || (!anyone && !leads.value)} onClick={onClick} data-testid={testid}
    >
      <Icon name={icon} />
      {!bare && <span>{text}</span>}
    </button>
  );
}
