import type { AudioSlot, Picture, SlotReason, VideoSlot } from './protocol';

/** A picture as it is at hand: the m-line that carries it, its layer, and why it is small or absent. */
export interface PictureSlot {
  mid: string;
  rid: string;
  reason: SlotReason;
}

const key = (participant: string, media: Picture): string => `${media}:${participant}`;

/** Who is in which m-line. A slot without a participant is free; a second slot of the same picture is ignored. */
export class SlotMap {
  private readonly pictures = new Map<string, PictureSlot>();
  private readonly voices = new Map<string, string>();

  constructor(video: readonly VideoSlot[] = [], audio: readonly AudioSlot[] = []) {
    for (const slot of video) {
      if (slot.participant === '') continue;
      const name = key(slot.participant, slot.media);
      if (!this.pictures.has(name)) this.pictures.set(name, { mid: slot.mid, rid: slot.rid, reason: slot.reason });
    }
    for (const slot of audio) {
      if (slot.participant !== '') this.voices.set(slot.mid, slot.participant);
    }
  }

  picture(participant: string, media: Picture): PictureSlot | undefined {
    return this.pictures.get(key(participant, media));
  }

  /** The participant whose voice the m-line carries now. */
  voice(mid: string): string | undefined {
    return this.voices.get(mid);
  }
}
