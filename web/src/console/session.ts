import { effect, signal } from '@preact/signals';
import { ApiError, logout, me } from '../api/http';
import { follow, topics } from '../api/live';
import type { Me } from '../api/types';
import { setLanguage } from '../i18n';
import { tellTime } from '../ui/clock';
import { go, path } from './router';

export const user = signal<Me | null>(null);
export const unreachable = signal(false);

let unfollow: (() => void) | null = null;

export const mayListen = (): boolean => user.value?.role === 'admin' || user.value?.role === 'auditor';
export const mayDelete = (): boolean => user.value?.role === 'admin';
export const mayWatch = (): boolean => mayListen() || user.value?.role === 'chair';
export const mayHangUp = (): boolean => user.value?.role === 'admin' || user.value?.role === 'operator';

/** Looks who is signed in; without a session it shows the log-in page, with one it follows the live feed. */
export async function enter(): Promise<void> {
  try {
    const who = await me();
    unreachable.value = false;
    if (who.role === 'room') {
      signedOut(); // a venue's device may enter its room, the console wants a person
      return;
    }
    if (!remembersLanguage() && who.language.startsWith('en')) setLanguage('en');
    user.value = who;
    unfollow ??= follow(signedOut);
    if (path.value === '/login') go(wanted(), true);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      signedOut();
      return;
    }
    unreachable.value = true;
    setTimeout(() => void enter(), 2000);
  }
}

export async function leave(): Promise<void> {
  try {
    await logout();
  } finally {
    signedOut();
  }
}

function signedOut(): void {
  unfollow?.();
  unfollow = null;
  user.value = null;
  unreachable.value = false;
  if (path.value !== '/login') {
    const from = path.value + location.search;
    go(from === '/' ? '/login' : `/login?next=${encodeURIComponent(from)}`, true);
  }
}

/** Where the visitor wanted to go; only paths of this site. */
function wanted(): string {
  const next = new URLSearchParams(location.search).get('next') ?? '/';
  return /^\/(?![/\\])/.test(next) ? next : '/';
}

function remembersLanguage(): boolean {
  try {
    return localStorage.getItem('linehall.language') !== null;
  } catch {
    return false;
  }
}

effect(() => {
  const status = topics.status.value;
  if (status !== null) tellTime(status.now);
});
