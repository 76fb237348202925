let wanted = false;
let lock: WakeLockSentinel | null = null;

/** Keeps the screen on during a meeting. The browser drops the lock whenever the page is hidden, so it is taken again. */
export function keepAwake(on: boolean): void {
  wanted = on;
  if (on) void take();
  else if (lock !== null) {
    void lock.release();
    lock = null;
  }
}

async function take(): Promise<void> {
  if (!('wakeLock' in navigator) || document.visibilityState !== 'visible' || (lock !== null && !lock.released)) return;
  try {
    lock = await navigator.wakeLock.request('screen');
  } catch {
    lock = null; // refused on battery or by policy: the screen saver is then the operating system's matter
  }
}

document.addEventListener('visibilitychange', () => {
  if (wanted) void take();
});
