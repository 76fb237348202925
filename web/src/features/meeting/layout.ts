import type { Layout, Meeting, Participant } from '../../rtc/protocol';

export const layouts: readonly Layout[] = ['', 'single', 'speaker', 'grid', 'pip', 'lecture'];

/** The participant that is there as a member. */
export const seatOf = (participants: readonly Participant[], member: string): Participant | undefined =>
  member === '' ? undefined : participants.find((participant) => participant.member === member);

/** Whose picture the order of the meeting makes large here, as the appliance decides too (sfu/chair, Scene). */
export function programmeOf(participants: readonly Participant[], meeting: Meeting | null): Participant | undefined {
  if (meeting === null) return undefined;
  const { you } = meeting;
  let member = you.chair && meeting.view !== '' ? meeting.view : meeting.on_air;
  if (member === you.member) member = meeting.chair;
  return member === you.member ? undefined : seatOf(participants, member);
}

export interface Arrangement {
  /** The large picture; null: all are alike. */
  main: Participant | null;
  others: Participant[];
  /** One's own picture stands in the corner of the large one. */
  corner: boolean;
}

/** Who is large and who is small. `others` come in the order in which they are shown; `voice` is who spoke last. */
export function arrange(others: Participant[], meeting: Meeting | null, layout: Layout, voice: string): Arrangement {
  const programme = programmeOf(others, meeting);
  const main = programme ?? others.find((participant) => participant.id === voice) ?? others[0];
  const rest = others.filter((participant) => participant !== main);
  const corner = layout === 'pip';
  switch (layout) {
    case 'grid':
      return { main: null, others, corner };
    case 'single':
    case 'pip':
      return { main: main ?? null, others: main === undefined ? others : [], corner };
    case 'speaker':
      return { main: main ?? null, others: rest, corner };
    case 'lecture':
      // Who speaks to the audience, and the chair, see everybody.
      if (meeting !== null && meeting.on_air !== '' && meeting.on_air !== meeting.you.member && !meeting.you.chair && programme !== undefined) return { main: programme, others: [], corner };
      return { main: null, others, corner };
    case '':
      return programme === undefined ? { main: null, others, corner } : { main: programme, others: rest, corner };
  }
}
