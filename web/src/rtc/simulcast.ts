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

/** Applies the appliance's command to the sender's encodings, in place. The lowest layer never rests. True if something changed. */
export function obey(encodings: RTCRtpEncodingParameters[], commands: readonly LayerCommand[], usable: number): boolean {
  let changed = false;
  encodings.forEach((encoding, index) => {
    const command = commands.find((candidate) => candidate.rid === encoding.rid);
    const active = index === 0 || ((command?.active ?? true) && index < usable);
    if (encoding.active !== active) {
      encoding.active = active;
      changed = true;
    }
    if (command !== undefined && command.max_bitrate_bps > 0 && encoding.maxBitrate !== command.max_bitrate_bps) {
      encoding.maxBitrate = command.max_bitrate_bps;
      changed = true;
    }
  });
  return changed;
}
