import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

/** A picture without controls and without sound; `onFlow` tells whether frames are being shown. */
export function Video({ stream, class: name, mirrored = false, testid, onFlow }: {
  stream: MediaStream | undefined; class: string; mirrored?: boolean; testid?: string; onFlow?: (flowing: boolean) => void;
}): JSX.Element {
  const element = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    const video = element.current;
    if (video === null) return;
    if (video.srcObject !== (stream ?? null)) video.srcObject = stream ?? null;
    if (stream !== undefined) video.play().catch(() => undefined);
  }, [stream]);
  return (
    <video
      ref={element} class={`${name}${mirrored ? ' mirrored' : ''}`} autoplay muted playsinline disablePictureInPicture data-testid={testid}
      onPlaying={() => onFlow?.(true)} onLoadedData={() => onFlow?.(true)} onEmptied={() => onFlow?.(false)}
    />
  );
}

/** True once a stream's picture has come. */
export function useFlow(stream: MediaStream | undefined): [boolean, (flowing: boolean) => void] {
  const [flow, setFlow] = useState<{ stream: MediaStream | undefined; on: boolean }>({ stream: undefined, on: false });
  return [flow.on && flow.stream === stream, (on) => {
    setFlow({ stream, on });
  }];
}
