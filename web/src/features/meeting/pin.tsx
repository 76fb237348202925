import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { texts } from '../../i18n';

const keys = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '', '0', '⌫'];
const longest = 16;

/** A PIN by mouse, keyboard or remote control. It is shown as dots: the screen may hang in a room full of people. */
export function PinPad({ title, text, wrong, onSubmit }: { title: string; text: string; wrong: boolean; onSubmit: (pin: string) => void }): JSX.Element {
  const t = texts.value.meeting.pin;
  const [pin, setPin] = useState('');
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    setPin('');
    box.current?.focus();
  }, [wrong]);
  const press = (key: string): void => {
    setPin((before) => (key === '⌫' ? before.slice(0, -1) : (before + key).slice(0, longest)));
  };
  return (
    <main class="pin" data-testid="pin">
      <h1>{title}</h1>
      <p role="status" class={wrong ? 'pin-wrong' : ''}>{wrong ? t.wrong : text}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (pin !== '') onSubmit(pin);
        }}
      >
        <input
          ref={box} class="pin-box" type="password" inputmode="numeric" autocomplete="off" maxLength={longest} aria-label={t.digits} value={pin} data-testid="pin-box"
          onInput={(event) => {
            setPin(event.currentTarget.value.replace(/\D/g, ''));
          }}
        />
        <div class="pin-keys">
          {keys.map((key, index) => key === '' ? <span key={index} /> : (
            <button type="button" key={index} class="pin-key" aria-label={key === '⌫' ? t.clear : key} onClick={() => { press(key); }}>{key}</button>
          ))}
        </div>
        <button type="submit" class="join" disabled={pin === ''} data-testid="pin-submit">{t.submit}</button>
      </form>
    </main>
  );
}
