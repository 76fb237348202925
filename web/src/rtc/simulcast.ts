import type { LayerCommand, Rid } from './protocol';

export const rids: readonly Rid[] = ['l', 'm', 'h'];

/**
 * How many different layers a captured height can carry. Chromium itself publishes one below 480x270, two below 960x540, and
 * keeps the first ones of the list; Firefox would send the same size several times, so `obey` switches the surplus off.
 */
export function layersFor(height: number): number {
  if (height >= 540) return 3;
  return height >= 270 ? 2 : 1;
}

/**
 * Encodings for a captured height: the highest usable layer is the whole picture, each one below has half its height. All are
 * offered as active: a layer that is off in the offer is written as paused (RFC 8853 §4), which not every answerer understands.
 */
export function encodingsFor(height: number): (RTCRtpEncodingParameters & { rid: Rid })[] {
  const usable = layersFor(height);
  const ceilings = [150_000, 500_000, 1_700_000];
  return rids.map((rid, index) => ({
    rid,
    active: true,
    scaleResolutionDownBy: 2 ** Math.max(0, usable - 1 - index),
    maxBitrate: (usable === 1 ? 250_000 : ceilings[index]) ?? 0,
  }));
}

/** An encoding with the members of WebRTC's extensions that this page uses: the sender's codec, and scalable coding. */
export type Encoding = RTCRtpEncodingParameters & { codec?: RTCRtpCodec; scalabilityMode?: string };

const same = (codec: RTCRtpCodec | undefined, name: string): boolean => codec?.mimeType.toLowerCase() === `video/${name.toLowerCase()}`;

/** Sets the negotiated codec of a name for all encodings, in place. VP8 is what a sender begins with. True if something changed. */
export function recode(parameters: RTCRtpSendParameters, name: string): boolean {
  const codec = parameters.codecs.find((candidate) => same(candidate, name));
  const encodings: Encoding[] = parameters.encodings;
  if (codec === undefined || (name === 'VP8' && encodings.every((encoding) => encoding.codec === undefined))) return false;
  let changed = false;
  for (const encoding of encodings) {
    if (same(encoding.codec, name)) continue;
    encoding.codec = codec;
    changed = true;
  }
  return changed;
}

/** True if the browser has taken the codec, and the spatial layers if it was told to use them. */
export function taken(encodings: readonly Encoding[], name: string, one: boolean): boolean {
  const first = encodings[0];
  return first !== undefined && (same(first.codec, name) || (name === 'VP8' && first.codec === undefined)) && (!one || first.scalabilityMode !== undefined);
}

/**
 * Applies the appliance's command to the sender's encodings, in place; the lowest layer never rests. `one`: the resolutions are
 * spatial layers of one stream (VP9), the first encoding, instead of a stream each. True if something changed.
 */
export function obey(encodings: Encoding[], commands: readonly LayerCommand[], usable: number, one = false): boolean {
  const wishes = encodings.map((encoding, index) => {
    const command = commands.find((candidate) => candidate.rid === encoding.rid);
    return { active: index === 0 || ((command?.active ?? true) && index < usable), ceiling: command?.max_bitrate_bps ?? 0 };
  });
  const top = wishes.findLastIndex((wish) => wish.active);
  let changed = false;
  encodings.forEach((encoding, index) => {
    const wish = wishes[one && index === 0 ? top : index];
    const next: Encoding = { active: one ? index === 0 : (wish?.active ?? false), scaleResolutionDownBy: 2 ** Math.max(0, usable - 1 - (one && index === 0 ? top : index)) };
    if (wish !== undefined && wish.ceiling > 0) next.maxBitrate = wish.ceiling;
    if (one && index === 0) next.scalabilityMode = ['L1T3', 'L2T3_KEY', 'L3T3_KEY'][top] ?? 'L1T3';
    else if (encoding.scalabilityMode !== undefined) {
      delete encoding.scalabilityMode;
      changed = true;
    }
    for (const name of ['active', 'scaleResolutionDownBy', 'maxBitrate', 'scalabilityMode'] as const) {
      if (next[name] === undefined || encoding[name] === next[name]) continue;
      Object.assign(encoding, { [name]: next[name] });
      changed = true;
    }
  });
  return changed;
}
