import type { JSX } from 'preact';
import { topics } from '../../api/live';
import { texts } from '../../i18n';
import { Empty } from '../../ui/empty';
import { Icon } from '../../ui/icon';
import { Quality } from './quality';
import { CallDuration } from './state';

const shown = 8;

/** The calls in progress, in short, for the overview. */
export function CallList(): JSX.Element {
  const t = texts.value;
  const calls = (topics.calls.value?.calls ?? []).filter((call) => call.state !== 'ended');
  return (
    <section class="panel brief" aria-labelledby="calls-title">
      <div class="panel-head">
        <h2 id="calls-title">{t.overview.liveCalls}</h2>
        <a class="small" href="/calls">{t.overview.allCalls}</a>
      </div>
      {calls.length === 0 && <Empty icon="call" title={t.calls.empty} hint={t.calls.emptyHint} />}
      <ul>
        {calls.slice(0, shown).map((call) => (
          <li class="brief-call" key={call.id} data-testid="call-row" data-id={call.id} data-state={call.state}>
            <Icon name={call.state === 'ringing' ? 'bell' : 'call'} class={call.state === 'ringing' ? 'tone-busy' : 'tone-fine'} />
            <span class="brief-parties">
              <span><strong>{call.from.extension}</strong> <span class="muted">{call.from.display_name}</span></span>
              <span><strong>{call.to.extension}</strong> <span class="muted">{call.to.display_name}</span></span>
            </span>
            <span class="brief-time"><CallDuration call={call} /></span>
            <Quality id={call.id} mos={call.mos} spark={false} />
          </li>
        ))}
      </ul>
      {calls.length > shown && <p class="brief-more"><a href="/calls">{t.overview.more(calls.length - shown)}</a></p>}
    </section>
  );
}
