import type { ComponentChildren, JSX } from 'preact';
import { feedState, lastFrameAt, topics } from '../../api/live';
import { path } from '../../console/router';
import { leave, user } from '../../console/session';
import { formatClock, formatClockSeconds, formatDay, texts } from '../../i18n';
import { now } from '../../ui/clock';
import { Icon, type IconName } from '../../ui/icon';
import { LanguageButton, SchemeButton } from './controls';
import { setWall, wall } from './wall';

const entries: readonly { to: string; icon: IconName; text: () => string }[] = [
  { to: '/', icon: 'overview', text: () => texts.value.nav.overview },
  { to: '/terminals', icon: 'phone', text: () => texts.value.nav.terminals },
  { to: '/calls', icon: 'call', text: () => texts.value.nav.calls },
  { to: '/records', icon: 'records', text: () => texts.value.nav.records },
  { to: '/lines', icon: 'lines', text: () => texts.value.nav.lines },
  { to: '/meetings', icon: 'calendar', text: () => texts.value.nav.meetings },
  { to: '/rooms', icon: 'video', text: () => texts.value.nav.rooms },
  { to: '/recordings', icon: 'film', text: () => texts.value.nav.programmes },
];

export function Shell({ title, children }: { title: string; children: ComponentChildren }): JSX.Element {
  const t = texts.value;
  return (
    <div class="shell" data-state={feedState.value} data-testid="console">
      <a class="skip" href="#content">{t.skip}</a>
      <nav class="nav" aria-label={t.nav.main}>
        <a class="brand" href="/" aria-label={`${t.product} · ${t.nav.overview}`}>
          <img src="/favicon.svg" width="32" height="32" alt="" />
          <span>
            <strong>{t.product}</strong>
            <small>{topics.status.value?.name ?? ''}</small>
          </span>
        </a>
        {entries.map((entry) => (
          <a key={entry.to} class="nav-item" href={entry.to} aria-current={path.value === entry.to ? 'page' : undefined} data-testid={`nav-${entry.to.slice(1) || 'overview'}`}>
            <Icon name={entry.icon} />
            <span>{entry.text()}</span>
          </a>
        ))}
        <div class="nav-user">
          <span class="nav-user-name">
            <strong>{user.value?.name}</strong>
            <small>{user.value === null ? '' : t.roles[user.value.role]}</small>
          </span>
          <button type="button" class="button quiet icon-only small" aria-label={t.shell.signOut} title={t.shell.signOut} onClick={() => void leave()} data-testid="sign-out">
            <Icon name="sign-out" />
          </button>
        </div>
      </nav>
      <div class="stage">
        <header class="top">
          <h1>{wall.value ? `${topics.status.value?.name ?? ''} · ${title}` : title}</h1>
          <Feed />
          <Time />
          {!wall.value && <LanguageButton />}
          <SchemeButton />
          {path.value === '/' && (
            <button
              type="button" class="button quiet icon-only small wall-button" aria-label={wall.value ? t.shell.leaveWall : t.shell.wall} title={wall.value ? t.shell.leaveWall : t.shell.wall}
              data-testid="wall-switch"
              onClick={() => {
                setWall(!wall.value);
              }}
            >
              <Icon name={wall.value ? 'minimize' : 'maximize'} />
            </button>
          )}
        </header>
        {feedState.value === 'stale' && (
          <p class="stale" role="status" data-testid="stale">
            <Icon name="offline" />
            {t.shell.stale(formatClockSeconds(new Date(lastFrameAt.value)))}
          </p>
        )}
        <main id="content" class="content" tabIndex={-1}>{children}</main>
      </div>
    </div>
  );
}

function Feed(): JSX.Element {
  const t = texts.value.shell;
  return (
    <span class={`feed ${feedState.value}`} data-testid="feed-state" data-state={feedState.value}>
      <Icon name={feedState.value === 'live' ? 'activity' : 'refresh'} />
      <span>{feedState.value === 'live' ? t.live : t.connecting}</span>
    </span>
  );
}

function Time(): JSX.Element {
  const at = new Date(now.value);
  return (
    <time class="time" dateTime={at.toISOString()}>
      <span class="time-day">{formatDay(at)}</span> {formatClock(at)}
    </time>
  );
}
