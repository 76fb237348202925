import type { JSX } from 'preact';
import { language, setLanguage, texts } from '../../i18n';
import { Icon } from '../../ui/icon';
import { scheme, toggleScheme } from '../../ui/scheme';

export function LanguageButton(): JSX.Element {
  const t = texts.value.language;
  return (
    <button
      type="button" class="button quiet small" lang={language.value === 'en' ? 'zh-CN' : 'en'} aria-label={`${t.other} · ${t.change}`} data-testid="language-switch"
      onClick={() => {
        setLanguage(language.value === 'en' ? 'zh-CN' : 'en');
      }}
    >
      {t.other}
    </button>
  );
}

export function SchemeButton(): JSX.Element {
  const t = texts.value.shell;
  return (
    <button type="button" class="button quiet icon-only small" aria-label={t.toggleTheme} title={scheme.value === 'dark' ? t.light : t.dark} onClick={toggleScheme} data-testid="theme-switch">
      <Icon name={scheme.value === 'dark' ? 'sun' : 'moon'} />
    </button>
  );
}
