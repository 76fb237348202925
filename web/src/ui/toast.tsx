import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { Icon } from './icon';

const shown = signal<{ id: number; text: string; fine: boolean }[]>([]);
let last = 0;

/** Says something for five seconds, without taking the focus. */
export function say(text: string, fine = true): void {
  const id = ++last;
  shown.value = [...shown.value.slice(-2), { id, text, fine }];
  setTimeout(() => {
    shown.value = shown.value.filter((toast) => toast.id !== id);
  }, 5000);
}

export function Toasts(): JSX.Element {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.value.map((toast) => (
        <div class="toast" key={toast.id} data-testid="toast">
          <Icon name={toast.fine ? 'check' : 'alert'} />
          {toast.text}
        </div>
      ))}
    </div>
  );
}
