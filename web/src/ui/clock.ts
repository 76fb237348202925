import { signal } from '@preact/signals';

/** The present, to the second, for everything that ticks. */
export const now = signal(Date.now());

let skew = 0;

/** The appliance's clock rules: spans are counted from its times, whatever the PC's clock says. */
export function tellTime(applianceNow: string): void {
  const at = Date.parse(applianceNow);
  if (Number.isFinite(at)) skew = at - Date.now();
}

export function startClock(): void {
  const tick = (): void => {
    now.value = Date.now() + skew;
    setTimeout(tick, 1000 - (now.value % 1000));
  };
  tick();
}

export const secondsSince = (time: string): number => Math.max(0, (now.value - Date.parse(time)) / 1000);
