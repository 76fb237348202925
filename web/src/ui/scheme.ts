import { signal } from '@preact/signals';

export const scheme = signal<'light' | 'dark'>(document.documentElement.dataset.theme === 'dark' ? 'dark' : 'light');

/** Switches between light and dark and remembers it; a choice equal to the system's follows the system again. */
export function toggleScheme(): void {
  const next = scheme.value === 'dark' ? 'light' : 'dark';
  const system = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  show(next);
  try {
    if (next === system) localStorage.removeItem('linehall.theme');
    else localStorage.setItem('linehall.theme', next);
  } catch {
    // A page without storage forgets the choice.
  }
}

export function followSystem(): void {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', (event) => {
    if (chosen() === null) show(event.matches ? 'dark' : 'light');
  });
}

function chosen(): string | null {
  try {
    return localStorage.getItem('linehall.theme');
  } catch {
    return null;
  }
}

function show(next: 'light' | 'dark'): void {
  scheme.value = next;
  document.documentElement.dataset.theme = next;
}
