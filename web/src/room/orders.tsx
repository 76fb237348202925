import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { secondsLeft } from '../features/meeting/roll';
import { nameOf, texts } from '../i18n';
import type { ChatLine } from '../rtc/protocol';
import { Icon } from '../ui/icon';
import { conference } from './room';

const floorMs = 3000;
const chatMs = 8000;

/** "You have the floor", as wide as the screen for three seconds. */
const granted = signal(false);
const lastLine = signal<ChatLine | null>(null);

function useGranted(mine: boolean): void {
  useEffect(() => {
    if (!mine) return undefined;
    granted.value = true;
    const timer = setTimeout(() => { granted.value = false; }, floorMs);
    return () => {
      clearTimeout(timer);
      granted.value = false;
    };
  }, [mine]);
}

/** A message that comes is shown for a while; those of before are in the panel. */
function useLastLine(): void {
  const chat = conference.chat.value;
  const known = useRef(chat.length === 0 ? 0 : chat.length);
  useEffect(() => {
    const line = chat.at(-1);
    const fresh = chat.length > known.current;
    known.current = chat.length;
    if (!fresh || line === undefined || line.member === conference.meeting.value?.you.member) return undefined;
    lastLine.value = line;
    const timer = setTimeout(() => { lastLine.value = null; }, chatMs);
    return () => { clearTimeout(timer); };
  }, [chat]);
}

/** A line over the pictures, for as long as the chair leaves it there. */
export function Banner(): JSX.Element | null {
  const text = conference.meeting.value?.banner ?? '';
  return text === '' ? null : <p class="banner" role="status" data-testid="room-banner">{text}</p>;
}

/** What else the chair says to everybody: caption, roll call, the floor; and a message that has come. */
export function Orders(): JSX.Element | null {
  const t = texts.value.meeting;
  const meeting = conference.meeting.value;
  const mine = meeting !== null && meeting.floor !== '' && meeting.floor === meeting.you.member;
  useGranted(mine);
  useLastLine();
  if (meeting === null) return null;
  const line = lastLine.value;
  return (
    <>
      {meeting.caption !== '' && <p class="caption" role="status" data-testid="room-caption">{meeting.caption}</p>}
      {line !== null && (
        <p class="chat-pop" role="status" data-testid="room-chat-pop"><Icon name="chat" /><strong>{nameOf(line.name)}</strong><span>{line.text}</span></p>
      )}
      {granted.value && (
        <div class="granted" role="alert" data-testid="room-granted">
          <Icon name="mic" />
          <strong>{t.floorYours}</strong>
          {conference.muted.value.audio && <span>{t.floorYoursMuted}</span>}
        </div>
      )}
      <RollCall />
    </>
  );
}

function RollCall(): JSX.Element | null {
  const t = texts.value.meeting;
  const meeting = conference.meeting.value;
  const button = useRef<HTMLButtonElement>(null);
  const roll = meeting?.roll ?? null;
  const own = roll?.entries.find((entry) => entry.member === meeting?.you.member);
  const asked = roll !== null && roll.closed_at === null && (own?.answered_at ?? null) === null;
  useEffect(() => {
    if (asked) button.current?.focus();
  }, [asked, roll?.started_at]);
  if (!asked) return null;
  return (
    <div class="roll-ask" role="alert" data-testid="room-roll">
      <strong>{t.rollAsk}</strong>
      <button type="button" class="join" ref={button} onClick={() => { conference.act('roll.answer'); }} data-testid="room-roll-answer">{t.rollHere}</button>
      <span>{t.rollLeft(secondsLeft(roll.until))}</span>
    </div>
  );
}
