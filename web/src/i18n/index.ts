import { computed, signal } from '@preact/signals';
import type { BilingualName } from '../api/types';
import { en } from './en';
import { type Dictionary, zh } from './zh';

export type Language = 'zh-CN' | 'en';

export const language = signal<Language>(document.documentElement.lang === 'en' ? 'en' : 'zh-CN');

/** The texts of the current language. Read in a component, it follows the switch. */
export const texts = computed<Dictionary>(() => (language.value === 'en' ? en : zh));

export function setLanguage(next: Language): void {
  language.value = next;
  document.documentElement.lang = next;
  try {
    localStorage.setItem('linehall.language', next);
  } catch {
    // A page without storage forgets the choice; nothing else depends on it.
  }
}

export const nameOf = (name: BilingualName): string => (language.value === 'en' ? name.en || name.zh : name.zh || name.en);

const numbers = computed(() => new Intl.NumberFormat(language.value));
const decimals = computed(() => new Intl.NumberFormat(language.value, { minimumFractionDigits: 1, maximumFractionDigits: 1 }));
const clock = computed(() => new Intl.DateTimeFormat(language.value, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }));
const clockSeconds = computed(
  () => new Intl.DateTimeFormat(language.value, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }),
);
const moment = computed(
  () => new Intl.DateTimeFormat(language.value, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }),
);
const momentSeconds = computed(
  () => new Intl.DateTimeFormat(language.value, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }),
);
const day = computed(() => new Intl.DateTimeFormat(language.value, { month: 'short', day: 'numeric', weekday: 'short' }));

export const formatNumber = (n: number): string => numbers.value.format(n);
export const formatDecimal = (n: number): string => decimals.value.format(n);
export const formatClock = (at: Date): string => clock.value.format(at);
export const formatClockSeconds = (at: Date): string => clockSeconds.value.format(at);
export const formatMoment = (at: Date): string => moment.value.format(at);
export const formatMomentSeconds = (at: Date): string => momentSeconds.value.format(at);
export const formatDay = (at: Date): string => day.value.format(at);

/** 174000 → "174 kbit/s", 1526000 → "1.5 Mbit/s". */
export function formatRate(bps: number): string {
  if (bps >= 1_000_000) return `${new Intl.NumberFormat(language.value, { maximumFractionDigits: 1 }).format(bps / 1_000_000)} Mbit/s`;
  return `${formatNumber(Math.round(bps / 1000))} kbit/s`;
}

/** 1430000 → "1.4", for places that name the unit once. */
export const formatMega = (bps: number): string => new Intl.NumberFormat(language.value, { maximumFractionDigits: 1 }).format(bps / 1_000_000);

/** 75 → "1:15", 3700 → "1:01:40". */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n: number): string => String(n).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours > 0 ? `${String(hours)}:${two(minutes)}:${two(whole % 60)}` : `${String(minutes)}:${two(whole % 60)}`;
}

/** A span in its largest fitting unit: "3 分钟", "2 days". */
export function formatSpan(seconds: number): string {
  const t = texts.value.time;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return t.seconds(whole);
  if (whole < 3600) return t.minutes(Math.floor(whole / 60));
  if (whole < 172_800) return t.hours(Math.floor(whole / 3600));
  return t.days(Math.floor(whole / 86_400));
}
