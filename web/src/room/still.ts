import { effect } from '@preact/signals';
import { conference } from './room';
import { stream } from './devices';

const width = 320;
const height = 180;
const qualities = [0.6, 0.45, 0.3, 0.15];

/** Sends still pictures of the own camera for as long as the appliance asks for them; returns what ends that. */
export function serveStills(): () => void {
  return effect(() => {
    const order = conference.stillOrder.value;
    const track = stream.value?.getVideoTracks()[0];
    if (order === null || track === undefined) return undefined;
    const video = document.createElement('video');
    video.muted = true;
    video.playsInline = true;
    video.srcObject = new MediaStream([track]);
    const take = (): void => {
      if (!track.enabled || track.readyState !== 'live') return;
      void picture(video, order.max_octets).then((jpeg) => {
        if (jpeg !== null) conference.sendStill(jpeg);
      });
    };
    video.addEventListener('loadeddata', take, { once: true });
    const timer = setInterval(take, order.interval_ms);
    void video.play().catch(() => undefined); // the next picture is taken all the same
    return () => {
      clearInterval(timer);
      video.srcObject = null;
    };
  });
}

/** What a video shows, as a JPEG of at most so many octets in base64; null if it shows nothing. */
async function picture(video: HTMLVideoElement, most: number): Promise<string | null> {
  if (video.videoWidth === 0) return null;
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = Math.min(Math.round((width * video.videoHeight) / video.videoWidth), height * 2);
  canvas.getContext('2d')?.drawImage(video, 0, 0, canvas.width, canvas.height);
  for (const quality of qualities) {
    const blob = await new Promise<Blob | null>((done) => {
      canvas.toBlob(done, 'image/jpeg', quality);
    });
    if (blob === null) return null;
    if (blob.size <= most) return base64(new Uint8Array(await blob.arrayBuffer()));
  }
  return null;
}

function base64(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
