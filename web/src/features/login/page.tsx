import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { ApiError, login } from '../../api/http';
import { enter } from '../../console/session';
import { formatSpan, texts } from '../../i18n';
import { Icon } from '../../ui/icon';
import { LanguageButton, SchemeButton } from '../shell/controls';

const problem = signal<ApiError | 'missing' | null>(null);
const busy = signal(false);
const visible = signal(false);
/** When a locked account may try again, in milliseconds since 1970. */
const lockedUntil = signal(0);
const tick = signal(Date.now());

function words(error: ApiError | 'missing'): string {
  const t = texts.value.login;
  if (error === 'missing') return t.missing;
  if (error.status === 0) return t.unreachable;
  if (error.status === 401 || error.status === 403) return t.wrong;
  if (error.status === 429) {
    const left = Math.ceil((lockedUntil.value - tick.value) / 1000);
    return left > 0 ? t.locked(formatSpan(left)) : t.lockedUnknown;
  }
  return t.failed(error.status);
}

async function submit(form: HTMLFormElement): Promise<void> {
  const values = new FormData(form);
  const text = (name: string): string => {
    const value = values.get(name);
    return typeof value === 'string' ? value : '';
  };
  if (text('username').trim() === '' || text('password') === '') {
    problem.value = 'missing';
    return;
  }
  busy.value = true;
  problem.value = null;
  try {
    await login(text('username').trim(), text('password'));
    await enter();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    lockedUntil.value = error.retryAfterSeconds === null ? 0 : Date.now() + error.retryAfterSeconds * 1000;
    problem.value = error;
    const password = form.elements.namedItem('password');
    if (password instanceof HTMLInputElement) password.select();
  } finally {
    busy.value = false;
  }
}

export function Login(): JSX.Element {
  const t = texts.value.login;
  const first = useRef<HTMLInputElement>(null);
  const secret = useRef<HTMLInputElement>(null);
  useEffect(() => {
    first.current?.focus();
    const timer = setInterval(() => {
      tick.value = Date.now();
    }, 1000);
    return () => {
      clearInterval(timer);
    };
  }, []);
  return (
    <main class="login" data-testid="login">
      <div class="login-tools">
        <LanguageButton />
        <SchemeButton />
      </div>
      <form
        class="login-form" noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void submit(event.currentTarget);
        }}
      >
        <div class="login-brand">
          <img src="/favicon.svg" width="48" height="48" alt="" />
          <div>
            <h1>{texts.value.product}</h1>
            <p class="muted">{t.intro}</p>
          </div>
        </div>
        <div class="field">
          <label for="username">{t.username}</label>
          <input class="input" id="username" name="username" ref={first} autocomplete="username" autocapitalize="none" spellcheck={false} required data-testid="login-username" />
        </div>
        <div class="field">
          <label for="password">{t.password}</label>
          <div class="login-password">
            <input class="input" id="password" name="password" ref={secret} type="password" autocomplete="current-password" required data-testid="login-password" />
            <button
              type="button" class="button quiet icon-only" aria-label={visible.value ? t.hidePassword : t.showPassword} aria-pressed={visible.value}
              onClick={() => {
                visible.value = !visible.value;
                if (secret.current !== null) secret.current.type = visible.value ? 'text' : 'password';
              }}
            >
              <Icon name={visible.value ? 'eye-off' : 'eye'} />
            </button>
          </div>
        </div>
        <p class="login-problem" role="alert" data-testid="login-error">
          {problem.value !== null && (
            <>
              <Icon name="alert" />
              <span>{words(problem.value)}</span>
            </>
          )}
        </p>
        <button type="submit" class="button primary" disabled={busy.value} data-testid="login-submit">{busy.value ? t.submitting : t.submit}</button>
        <p class="muted small">{t.first}</p>
      </form>
    </main>
  );
}
