import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { arrange, layouts } from '../features/meeting/layout';
import { Picture } from '../features/meeting/picture';
import { secondsLeft } from '../features/meeting/roll';
import { nameOf, texts } from '../i18n';
import type { Layout, Meeting, Participant } from '../rtc/protocol';
import { viewsOf } from '../rtc/want';
import { Icon } from '../ui/icon';
import { Key } from './key';
import { act, conference, leads } from './seat';

const force = signal(true);

/** What everybody sees, the layout, and the poll. */
export function Programme({ meeting }: { meeting: Meeting }): JSX.Element {
  const t = texts.value.meeting;
  const participants = conference.participants.value;
  const speaker = conference.speaking.value[0] ?? '';
  const { main, others } = arrange(participants, { ...meeting, view: '', you: { ...meeting.you, member: '', chair: false } }, meeting.layout, speaker);
  const wanted = JSON.stringify(participants.map((participant) => ({ participant: participant.id, media: 'camera', height: participant === main ? 360 : 90 })));
  useEffect(() => {
    conference.setViews(viewsOf(JSON.parse(wanted) as Parameters<typeof viewsOf>[0], 1));
  }, [wanted]);
  return (
    <section class="programme" aria-labelledby="programme-title">
      <h2 id="programme-title">{t.programme}</h2>
      <p class="programme-words" role="status" data-testid="chair-programme" data-on-air={meeting.on_air} data-floor={meeting.floor}>{wordsOf(meeting, participants)}</p>
      <div class={`preview layout-${meeting.layout === '' ? 'auto' : meeting.layout}${main === null ? ' grid-only' : ''}`} data-testid="chair-preview">
        {main !== null && <span class="preview-main"><Picture conference={conference} participant={main} large /><b>{nameOf(main.name)}</b></span>}
        {others.length > 0 && (
          <span class="preview-others">
            {others.slice(0, 9).map((participant) => <span class="preview-small" key={participant.id}><Picture conference={conference} participant={participant} /><b>{nameOf(participant.name)}</b></span>)}
          </span>
        )}
        {participants.length === 0 && <Icon name="users" />}
      </div>
      <div class="layouts" role="group" aria-label={t.layout}>
        {layouts.map((layout) => (
          <button type="button" key={layout} class={`button small layout-key${meeting.layout === layout ? ' on' : ''}`} aria-pressed={meeting.layout === layout} disabled={!leads.value} onClick={() => { choose(layout); }} data-testid={`chair-layout-${layout === '' ? 'auto' : layout}`}>
            {t.layouts[layout]}
          </button>
        ))}
        <label class="check"><input type="checkbox" checked={force.value} disabled={!leads.value} onChange={(event) => { force.value = event.currentTarget.checked; choose(meeting.layout); }} data-testid="chair-force" />{t.force}</label>
      </div>
      <PollBar meeting={meeting} />
    </section>
  );
}

function choose(layout: Layout): void {
  act('layout', { layout, on: force.value && layout !== '' });
}

function wordsOf(meeting: Meeting, participants: readonly Participant[]): string {
  const t = texts.value.meeting;
  const name = (member: string): string => {
    const found = participants.find((participant) => participant.member === member) ?? meeting.venues.find((venue) => venue.id === member);
    return found === undefined ? member : nameOf(found.name);
  };
  if (meeting.floor !== '') return t.programmeFloor(name(meeting.floor));
  if (meeting.on_air === '') return t.programmeNone;
  return (participants.some((participant) => participant.member === meeting.on_air) ? t.programmeOnAir : t.programmeAbsent)(name(meeting.on_air));
}

const interval = signal(15);
const skip = signal(true);
const order = signal<string[]>([]);

function PollBar({ meeting }: { meeting: Meeting }): JSX.Element {
  const t = texts.value.meeting;
  const { poll } = meeting;
  const venues = meeting.venues.filter((venue) => venue.id !== meeting.chair);
  const listed = poll?.order ?? [...order.value.filter((id) => venues.some((venue) => venue.id === id)), ...venues.map((venue) => venue.id).filter((id) => !order.value.includes(id))];
  const nameOfVenue = (id: string): string => {
    const venue = meeting.venues.find((candidate) => candidate.id === id);
    return venue === undefined ? id : nameOf(venue.name);
  };
  return (
    <div class="poll" data-testid="chair-poll" data-running={poll !== null}>
      <h3>{t.poll}{poll !== null && !poll.paused && <span class="muted">{t.pollLeft(secondsLeft(poll.next_at))}</span>}</h3>
      <ol class="poll-order" aria-label={t.pollOrder}>
        {listed.map((id, index) => (
          <li key={id}>
            <button type="button" class={`button small${poll?.current === id ? ' on' : ''}`} disabled={poll !== null || !leads.value || index === 0} aria-label={index > 0 ? t.pollEarlier(nameOfVenue(id)) : undefined} aria-current={poll?.current === id} onClick={() => {
              order.value = listed.map((one, at) => (at === index - 1 ? id : at === index ? (listed[index - 1] ?? one) : one));
            }}>{nameOfVenue(id)}</button>
          </li>
        ))}
      </ol>
      <div class="poll-keys">
        {poll === null
          ? (
              <>
                <label class="check">{t.pollEvery}
                  <select class="select" value={String(interval.value)} disabled={!leads.value} onChange={(event) => { interval.value = Number(event.currentTarget.value); }} data-testid="chair-poll-interval">
                    {[5, 10, 15, 30, 60, 120].map((n) => <option key={n} value={String(n)}>{t.seconds(n)}</option>)}
                  </select>
                </label>
                <label class="check"><input type="checkbox" checked={skip.value} disabled={!leads.value} onChange={(event) => { skip.value = event.currentTarget.checked; }} />{t.pollSkip}</label>
                <Key icon="poll" text={t.pollStart} testid="chair-poll-start" onClick={() => { act('poll.start', { seconds: interval.value, on: skip.value, order: listed }); }} />
              </>
            )
          : (
              <>
                <Key icon="next" text={t.pollNext} testid="chair-poll-next" onClick={() => { act('poll.next'); }} />
                <Key icon={poll.paused ? 'play' : 'pause'} text={poll.paused ? t.pollResume : t.pollPause} on={poll.paused} testid="chair-poll-pause" onClick={() => { act('poll.pause', { on: !poll.paused }); }} />
                <Key icon="stop" text={t.pollStop} testid="chair-poll-stop" onClick={() => { act('poll.stop'); }} />
              </>
            )}
      </div>
    </div>
  );
}
