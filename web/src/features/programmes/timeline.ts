import type { ProgrammePart } from '../../api/types';

/** A part of the programme that can be played, on the time of the whole recording. */
export interface Stretch { number: number; from: number; to: number; video: boolean }

/** What can be played of a recording, in order; parts of single participants and what is still being written are not. */
export function stretches(parts: readonly ProgrammePart[]): Stretch[] {
  return parts
    .filter((part) => part.member === '' && part.ended_at !== null && part.duration_seconds > 0)
    .map((part) => ({ number: part.number, from: part.offset_seconds, to: part.offset_seconds + part.duration_seconds, video: part.video_codec !== '' }))
    .sort((a, b) => a.from - b.from);
}

/** What plays at a second of the recording: the stretch that is there, or else the next one from its beginning; null: the end. */
export function at(list: readonly Stretch[], second: number): { stretch: Stretch; inside: number } | null {
  for (const stretch of list) {
    if (second < stretch.to) return { stretch, inside: Math.max(0, second - stretch.from) };
  }
  return null;
}
