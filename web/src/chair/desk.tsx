import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { texts } from '../i18n';
import type { Meeting } from '../rtc/protocol';
import { Key } from './key';
import { act, leads } from './seat';

const sure = signal(false);
const sureMs = 4000;

/** What concerns the whole meeting. */
export function Desk({ meeting }: { meeting: Meeting }): JSX.Element {
  const t = texts.value.meeting;
  const calling = meeting.roll?.closed_at === null;
  useEffect(() => {
    if (!sure.value) return undefined;
    const timer = setTimeout(() => { sure.value = false; }, sureMs);
    return () => { clearTimeout(timer); };
  }, [sure.value]);
  return (
    <footer class="desk">
      <div class="desk-keys" role="toolbar" aria-label={t.settings}>
        <Key icon="users" text={t.discussion} testid="chair-discussion" onClick={() => { act('discussion'); }} />
        <Key icon="roll" text={calling ? t.rollClose : t.rollStart} on={calling} testid="chair-roll" onClick={() => { act(calling ? 'roll.close' : 'roll.start'); }} />
        <Key icon="mic-off" text={meeting.mute_all ? t.unmuteAll : t.muteAll} on={meeting.mute_all} testid="chair-mute-all" onClick={() => { act('mute.all', { on: !meeting.mute_all }); }} />
        <Key icon="mic" text={t.allowUnmute} on={meeting.may_unmute} testid="chair-allow-unmute" onClick={() => { act('mute.allow', { on: !meeting.may_unmute }); }} />
        <Key icon="share-off" text={t.lockContent} on={meeting.content_locked} testid="chair-lock-content" onClick={() => { act('content.lock', { on: !meeting.content_locked }); }} />
        <Key icon="lock" text={t.lockRoom} on={meeting.locked} testid="chair-lock-room" onClick={() => { act('room.lock', { on: !meeting.locked }); }} />
        <Key icon="waiting" text={t.waitingRoom} on={meeting.waiting_room} testid="chair-waiting-room" onClick={() => { act('room.waiting', { on: !meeting.waiting_room }); }} />
        <Key icon="record" text={meeting.recording === null ? t.tape : t.tapeStop} on={meeting.recording !== null} danger={meeting.recording !== null} testid="chair-record" onClick={() => { act(meeting.recording === null ? 'record.start' : 'record.stop'); }} />
        <Key icon="clock" text={t.extendBy(15)} testid="chair-extend" onClick={() => { act('extend', { seconds: 15 * 60 }); }} />
        <Key
          icon="phone-off" danger text={sure.value ? t.endSure : t.end} testid="chair-end"
          onClick={() => {
            if (sure.value) act('end');
            sure.value = !sure.value;
          }}
        />
      </div>
      <div class="desk-texts">
        <Line name="banner" now={meeting.banner} label={t.banner} placeholder={t.bannerPlaceholder} />
        <Line name="caption" now={meeting.caption} label={t.caption} placeholder={t.captionPlaceholder} />
      </div>
    </footer>
  );
}

/** A line of text that everybody sees until it is cleared. */
function Line({ name, now, label, placeholder }: { name: 'banner' | 'caption'; now: string; label: string; placeholder: string }): JSX.Element {
  const t = texts.value.meeting;
  const [text, setText] = useState('');
  return (
    <form
      class="desk-line"
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim() === '') return;
        act(name, { text: text.trim() });
        setText('');
      }}
    >
      <label for={`desk-${name}`}>{label}</label>
      <input id={`desk-${name}`} class="input" maxLength={200} placeholder={now === '' ? placeholder : now} value={text} disabled={!leads.value} onInput={(event) => { setText(event.currentTarget.value); }} data-testid={`chair-${name}`} />
      <button type="submit" class="button small" disabled={!leads.value || text.trim() === ''} data-testid={`chair-${name}-set`}>{t.bannerSet}</button>
      {now !== '' && <button type="button" class="button small" disabled={!leads.value} onClick={() => { act(name, { text: '' }); }} data-testid={`chair-${name}-clear`}>{t.bannerClear}</button>}
    </form>
  );
}
