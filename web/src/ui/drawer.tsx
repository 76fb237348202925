import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { texts } from '../i18n';
import { Icon } from './icon';

/** Details beside a list: a native dialog, so Escape closes it and the focus returns where it was. */
export function Drawer({ title, onClose, children, testid, wide = false }: { title: string; onClose: () => void; children: ComponentChildren; testid: string; wide?: boolean }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => {
      element?.close();
    };
  }, []);
  return (
    <dialog
      class={wide ? 'drawer wide' : 'drawer'} ref={dialog} data-testid={testid} aria-label={title} onClose={onClose}
      onClick={(event) => {
        if (event.target === event.currentTarget) event.currentTarget.close();
      }}
    >
      <div class="drawer-head">
        <h2>{title}</h2>
        <button type="button" class="button quiet icon-only" aria-label={texts.value.shell.close} onClick={() => dialog.current?.close()}>
          <Icon name="close" />
        </button>
      </div>
      <div class="drawer-body">{children}</div>
    </dialog>
  );
}
