import { signal } from '@preact/signals';

/** The microphone's loudness, 0 to 1, ten times a second, while somebody looks at it. */
export const level = signal(0);

/** Measures until the returned function is called; without an audio track or an AudioContext the level stays 0. */
export function measure(stream: MediaStream): () => void {
  if (stream.getAudioTracks().length === 0) return () => undefined;
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    if (context.state === 'suspended') void context.resume().catch(() => undefined);
    analyser.getFloatTimeDomainData(samples);
    level.value = loudness(samples);
  }, 100);
  return () => {
    clearInterval(timer);
    level.value = 0;
    void context.close();
  };
}

/** Root mean square on a scale from -60 dB (0) to -6 dB (1). */
export function loudness(samples: Float32Array): number {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  const decibels = 10 * Math.log10(Math.max(power, 1e-9));
  return Math.min(1, Math.max(0, (decibels + 60) / 54));
}
