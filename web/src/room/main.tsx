import { effect } from '@preact/signals';
import { render } from 'preact';
import type { JSX } from 'preact';
import '../styles/base.css';
import '../styles/room.css';
import { texts } from '../i18n';
import { startClock } from '../ui/clock';
import { Toasts } from '../ui/toast';
import { walkWithArrows } from '../ui/arrows';
import { expose } from './expose';
import { Meeting } from './meeting';
import { Notice } from './notice';
import { Prejoin } from './prejoin';
import { PinPad } from '../features/meeting/pin';
import { sayRefusals } from '../features/meeting/refusal';
import { serveStills } from './still';
import { begin, conference, join, number, roomName, standby, state } from './room';
import { Ringing } from './standby';
import { keepAwake } from './wake';

function Page(): JSX.Element {
  const current = state.value;
  const t = texts.value.meeting.pin;
  const asksPIN = current === 'pin_required' || current === 'pin_wrong';
  const seated = current === 'in-meeting' || current === 'reconnecting';
  return (
    <div class="room" data-testid="room-state" data-state={current} data-trouble={conference.trouble.value}>
      {standby.told.value?.called === true && !seated && <Ringing told={standby.told.value} />}
      {seated ? <Meeting /> : current === 'prejoin' ? <Prejoin /> : asksPIN ? <PinPad title={t.title} text={t.text} wrong={current === 'pin_wrong'} onSubmit={join} /> : <Notice state={current} />}
      <Toasts />
    </div>
  );
}

effect(() => {
  document.title = `${roomName.value || texts.value.room.title} ${number} · ${texts.value.product}`;
});

const root = document.getElementById('app');
if (root !== null) {
  startClock();
  walkWithArrows();
  expose();
  sayRefusals(conference);
  serveStills();
  render(<Page />, root);
  addEventListener('online', () => {
    conference.kick();
  });
  effect(() => {
    keepAwake(state.value === 'in-meeting' || state.value === 'joining' || state.value === 'reconnecting');
  });
  void begin();
}
