import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { texts } from '../i18n';
import { Icon } from '../ui/icon';
import { conference } from './room';

/** The browser refused to play sound without a key press (kiosks are started so that it does not). */
const refused = signal(false);

function Voice({ stream }: { stream: MediaStream }): JSX.Element {
  const element = useRef<HTMLAudioElement>(null);
  useEffect(() => {
    const audio = element.current;
    if (audio === null) return;
    audio.srcObject = stream;
    audio.play().catch((error: unknown) => {
      if (error instanceof DOMException && error.name === 'NotAllowedError') refused.value = true;
    });
  }, [stream]);
  return <audio ref={element} class="voice" autoplay data-testid="room-voice" />;
}

/** One audio element per voice m-line; they play whoever is in it. */
export function Voices(): JSX.Element {
  void conference.revision.value;
  return (
    <>
      {conference.voices().map((stream) => <Voice key={stream.id} stream={stream} />)}
      {refused.value && <SoundButton />}
    </>
  );
}

function SoundButton(): JSX.Element {
  const t = texts.value.room;
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => button.current?.focus(), []);
  return (
    <button
      type="button" class="sound-button" ref={button} data-testid="room-sound"
      onClick={() => {
        refused.value = false;
        for (const audio of document.querySelectorAll('audio')) {
          audio.play().catch(() => {
            refused.value = true;
          });
        }
      }}
    >
      <Icon name="volume" />
      <strong>{t.sound}</strong>
      <span>{t.soundHint}</span>
    </button>
  );
}
