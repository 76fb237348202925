import { effect } from '@preact/signals';
import type { JSX } from 'preact';
import { Calls } from '../features/calls/page';
import { Lines } from '../features/lines/page';
import { Login } from '../features/login/page';
import { Meetings } from '../features/meetings/page';
import { Overview } from '../features/overview/page';
import { Records } from '../features/records/page';
import { Programmes } from '../features/programmes/page';
import { Rooms } from '../features/rooms/page';
import { Shell } from '../features/shell/shell';
import { Terminals } from '../features/terminals/page';
import { texts } from '../i18n';
import { Empty } from '../ui/empty';
import { Toasts } from '../ui/toast';
import { path } from './router';
import { unreachable, user } from './session';

const views: Record<string, { title: () => string; view: () => JSX.Element }> = {
  '/': { title: () => texts.value.overview.title, view: () => <Overview /> },
  '/terminals': { title: () => texts.value.terminals.title, view: () => <Terminals /> },
  '/calls': { title: () => texts.value.calls.title, view: () => <Calls /> },
  '/records': { title: () => texts.value.records.title, view: () => <Records /> },
  '/lines': { title: () => texts.value.line.title, view: () => <Lines /> },
  '/meetings': { title: () => texts.value.planned.title, view: () => <Meetings /> },
  '/rooms': { title: () => texts.value.rooms.title, view: () => <Rooms /> },
  '/recordings': { title: () => texts.value.programmes.title, view: () => <Programmes /> },
};

effect(() => {
  const title = path.value === '/login' ? texts.value.login.title : views[path.value]?.title();
  document.title = title === undefined ? texts.value.product : `${title} · ${texts.value.product}`;
});

export function App(): JSX.Element {
  return (
    <>
      <Page />
      <Toasts />
    </>
  );
}

function Page(): JSX.Element {
  const t = texts.value;
  if (path.value === '/login') return <Login />;
  if (user.value === null) {
    return (
      <main class="waiting" data-testid="console-waiting">
        {unreachable.value && <Empty icon="offline" title={t.login.unreachable} hint={t.shell.connecting} />}
      </main>
    );
  }
  const page = views[path.value];
  if (page === undefined) {
    return (
      <Shell title={t.shell.notFound}>
        <Empty icon="search" title={t.shell.notFound} hint={t.shell.notFoundHint}>
          <a class="button" href="/">{t.shell.toOverview}</a>
        </Empty>
      </Shell>
    );
  }
  return <Shell title={page.title()}>{page.view()}</Shell>;
}
