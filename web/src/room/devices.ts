import { signal } from '@preact/signals';
import type { Address } from './address';

export type DeviceState = 'ok' | 'missing' | 'taken' | 'lost';

/** The camera and the microphone as the page knows them. The stream keeps its identity; its tracks come and go. */
export const stream = signal<MediaStream | null>(null);
export const camera = signal<DeviceState>('ok');
export const microphone = signal<DeviceState>('ok');

export class PermissionDenied extends Error {}

const sound: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

function pictureOf(video: Address['video']): MediaTrackConstraints {
  return { width: { ideal: video.width }, height: { ideal: video.height }, frameRate: { ideal: video.frameRate, max: video.frameRate } };
}

/** One kind of device; null and the reason if there is none to be had. */
async function one(kind: 'audio' | 'video', video: Address['video']): Promise<MediaStreamTrack | DeviceState> {
  try {
    const got = await navigator.mediaDevices.getUserMedia(kind === 'audio' ? { audio: sound } : { video: pictureOf(video) });
    return got.getTracks()[0] ?? 'missing';
  } catch (error) {
    return reason(error);
  }
}

function reason(error: unknown): DeviceState {
  const name = error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError' || name === 'SecurityError') throw new PermissionDenied();
  return name === 'NotReadableError' || name === 'AbortError' ? 'taken' : 'missing';
}

/** Asks for both at once (one question to the user); if that fails, for each alone, so that what is there is used. */
async function acquire(video: Address['video']): Promise<[MediaStreamTrack | DeviceState, MediaStreamTrack | DeviceState]> {
  try {
    const got = await navigator.mediaDevices.getUserMedia({ audio: sound, video: pictureOf(video) });
    return [got.getAudioTracks()[0] ?? 'missing', got.getVideoTracks()[0] ?? 'missing'];
  } catch (error) {
    reason(error);
    return [await one('audio', video), await one('video', video)];
  }
}

/** Keeps camera and microphone at hand until the page goes: a device that is unplugged or taken is asked for again and again. */
export class Devices {
  private retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly video: Address['video'],
    private readonly changed: (stream: MediaStream) => void,
  ) {
    navigator.mediaDevices.addEventListener('devicechange', () => void this.regain());
  }

  async open(): Promise<MediaStream> {
    const current = stream.value;
    if (current !== null) return current;
    const [audio, picture] = await acquire(this.video);
    const tracks = [this.adopt(audio, microphone), this.adopt(picture, camera)].filter((track) => track !== null);
    const opened = new MediaStream(tracks);
    stream.value = opened;
    this.later();
    return opened;
  }

  private adopt(got: MediaStreamTrack | DeviceState, state: typeof camera): MediaStreamTrack | null {
    if (typeof got === 'string') {
      // A device that was there and is being asked for again stays "lost" until it is back.
      if (!(state.value === 'lost' && got === 'missing')) state.value = got;
      return null;
    }
    state.value = 'ok';
    got.contentHint = got.kind === 'video' ? 'motion' : 'speech';
    got.addEventListener('ended', () => {
      stream.value?.removeTrack(got);
      state.value = 'lost';
      this.later();
    });
    return got;
  }

  private later(): void {
    clearTimeout(this.retry);
    if (camera.value !== 'ok' || microphone.value !== 'ok') this.retry = setTimeout(() => void this.regain(), 4000);
  }

  private async regain(): Promise<void> {
    const current = stream.value;
    if (current === null) return;
    clearTimeout(this.retry);
    const found: MediaStreamTrack[] = [];
    try {
      for (const [kind, state] of [['audio', microphone], ['video', camera]] as const) {
        if (state.value === 'ok') continue;
        const track = this.adopt(await one(kind, this.video), state);
        if (track !== null) found.push(track);
      }
    } catch (error) {
      if (!(error instanceof PermissionDenied)) throw error;
    }
    this.later();
    if (found.length === 0) return;
    const next = new MediaStream([...current.getTracks(), ...found]);
    stream.value = next;
    this.changed(next);
  }
}
