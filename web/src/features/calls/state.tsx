import type { JSX } from 'preact';
import type { Call, CallState } from '../../api/types';
import { formatDuration, texts } from '../../i18n';
import { Badge, type Tone } from '../../ui/badge';
import { secondsSince } from '../../ui/clock';
import type { IconName } from '../../ui/icon';

const tones: Record<CallState, Tone> = { ringing: 'busy', established: 'fine', held: 'warning', ended: 'muted' };
const icons: Record<CallState, IconName> = { ringing: 'bell', established: 'call', held: 'phone', ended: 'phone-off' };

export function CallBadge({ call }: { call: Call }): JSX.Element {
  return <Badge tone={tones[call.state]} icon={icons[call.state]}>{texts.value.calls.states[call.state]}</Badge>;
}

/** Ticks from the answer on; a call that rings counts from its start. */
export function CallDuration({ call }: { call: Call }): JSX.Element {
  return <>{formatDuration(call.state === 'ended' ? call.duration_seconds : secondsSince(call.answered_at ?? call.started_at))}</>;
}
