import { signal } from '@preact/signals';

/** The overview alone, large, for a screen on the wall: `/?wall`, or the button on the overview. */
export const wall = signal('wall' in document.documentElement.dataset);

export function setWall(on: boolean): void {
  wall.value = on;
  if (on) document.documentElement.dataset.wall = '';
  else delete document.documentElement.dataset.wall;
  const url = new URL(location.href);
  if (on) url.searchParams.set('wall', '');
  else url.searchParams.delete('wall');
  history.replaceState(null, '', url.pathname + (on ? '?wall' : url.search) + url.hash);
  if (on) void document.documentElement.requestFullscreen().catch(() => undefined);
  else if (document.fullscreenElement !== null) void document.exitFullscreen().catch(() => undefined);
}
