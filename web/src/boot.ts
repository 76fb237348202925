// Runs before the first paint: colour scheme and language, so that nothing flashes.
// It is a classic script of its own because the content security policy allows no inline script.
const root = document.documentElement;
const query = new URLSearchParams(location.search);
const stored = (key: string): string | null => {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
};
const scheme = query.get('theme') ?? stored('linehall.theme') ?? (root.dataset.page === 'room' ? 'dark' : 'system');
const dark = scheme === 'dark' || (scheme !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
root.dataset.theme = dark ? 'dark' : 'light';
root.lang = (query.get('lang') ?? stored('linehall.language') ?? 'zh-CN').startsWith('en') ? 'en' : 'zh-CN';
if (query.has('wall')) root.dataset.wall = '';
