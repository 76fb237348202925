import { signal } from '@preact/signals';

export const path = signal(location.pathname);

export function go(to: string, replace = false): void {
  if (replace) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  path.value = location.pathname;
  scrollTo(0, 0);
}

/** Pages of the console, as plain links that the browser can also open in a new tab. */
export const pages = ['/', '/terminals', '/calls', '/records', '/lines', '/rooms', '/meetings', '/recordings', '/login'] as const;

/** Turns clicks on links inside the console into changes of page. */
export function interceptLinks(): void {
  addEventListener('popstate', () => {
    path.value = location.pathname;
  });
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (link === null || link.target !== '' || link.origin !== location.origin) return;
    if (!pages.some((page) => page === link.pathname)) return;
    event.preventDefault();
    go(link.pathname + link.search + link.hash);
  });
}
