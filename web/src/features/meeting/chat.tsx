import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { formatClock, nameOf, texts } from '../../i18n';
import type { Conference } from '../../rtc/conference';
import { Icon } from '../../ui/icon';

/** The messages of the meeting, ready answers for those without a keyboard, and a line to write. */
export function Chat({ conference, quick }: { conference: Conference; quick: boolean }): JSX.Element {
  const t = texts.value.meeting;
  const lines = conference.chat.value;
  const list = useRef<HTMLOListElement>(null);
  const [text, setText] = useState('');
  useEffect(() => {
    list.current?.scrollTo({ top: list.current.scrollHeight });
  }, [lines.length]);
  const send = (message: string): void => {
    if (message.trim() === '') return;
    conference.act('chat', { text: message });
    setText('');
  };
  return (
    <div class="chat" data-testid="chat">
      {lines.length === 0 && <p class="chat-empty">{t.chatEmpty}</p>}
      <ol class="chat-lines" ref={list} tabIndex={lines.length > 0 ? 0 : -1} aria-label={t.chat} data-testid="chat-lines">
        {lines.map((line, index) => (
          <li key={index} class={line.member === conference.meeting.value?.you.member ? 'mine' : ''}>
            <span class="chat-head"><strong>{nameOf(line.name)}</strong><time dateTime={line.at}>{formatClock(new Date(line.at))}</time></span>
            {line.text}
          </li>
        ))}
      </ol>
      {quick && (
        <div class="chat-quick">
          {t.chatQuick.map((answer) => <button type="button" key={answer} class="button" onClick={() => { send(answer); }}>{answer}</button>)}
        </div>
      )}
      <form
        class="chat-write"
        onSubmit={(event) => {
          event.preventDefault();
          send(text);
        }}
      >
        <input class="input" maxLength={500} placeholder={t.chatPlaceholder} aria-label={t.chatPlaceholder} value={text} onInput={(event) => { setText(event.currentTarget.value); }} data-testid="chat-text" />
        <button type="submit" class="button icon-only" aria-label={t.chatSend} data-testid="chat-send"><Icon name="send" /></button>
      </form>
    </div>
  );
}
