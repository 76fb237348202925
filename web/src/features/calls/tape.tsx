import type { JSX } from 'preact';
import { ApiError, tape } from '../../api/http';
import type { Call } from '../../api/types';
import { mayHangUp } from '../../console/session';
import { texts } from '../../i18n';
import { Badge } from '../../ui/badge';
import { Icon } from '../../ui/icon';
import { say } from '../../ui/toast';

/** Says that a call is being recorded, or why it is not although it should be. */
export function TapeBadge({ call }: { call: Call }): JSX.Element | null {
  const t = texts.value.recordings;
  if (call.recording === 'off') return call.unrecorded === '' ? null : <div class="tape"><Badge tone="warning" icon="alert">{t.notRecorded}</Badge></div>;
  return <div class="tape"><Badge tone={call.recording === 'suspended' ? 'failure' : 'busy'} icon="mic">{t.states[call.recording]}</Badge></div>;
}

async function toggle(call: Call): Promise<void> {
  const t = texts.value.recordings;
  const on = call.recording === 'off';
  try {
    await tape(call.id, on);
    say(on ? t.started : t.stopped);
  } catch (error) {
    say(error instanceof ApiError && error.detail !== '' ? error.detail : t.failed, false);
  }
}

/** Begins and ends the recording of a call that may be recorded. */
export function TapeButton({ call }: { call: Call }): JSX.Element | null {
  const t = texts.value.recordings;
  if (!mayHangUp() || !call.may_record || (call.state !== 'established' && call.state !== 'held')) return null;
  return (
    <button type="button" class="button small" onClick={() => void toggle(call)} data-testid="call-record" data-on={call.recording !== 'off'}>
      <Icon name={call.recording === 'off' ? 'mic' : 'mic-off'} />
      {call.recording === 'off' ? t.start : t.stop}
    </button>
  );
}
