import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { attendance, heldMeetings, paper } from '../../api/http';
import { topics } from '../../api/live';
import type { Attendance, HeldMeeting } from '../../api/types';
import { formatSpan, nameOf, texts } from '../../i18n';
import { Badge } from '../../ui/badge';
import { Empty } from '../../ui/empty';
import { Icon } from '../../ui/icon';
import { clockIn, momentIn } from './days';
import { zone } from './state';

const room = signal('');

/** The meetings that were held in a room, each with who was there. */
export function Held(): JSX.Element {
  const t = texts.value.planned.attendance;
  const rooms = topics.rooms.value?.rooms ?? [];
  const number = room.value === '' ? rooms[0]?.number ?? '' : room.value;
  const [list, setList] = useState<HeldMeeting[] | null>(null);
  useEffect(() => {
    if (number === '') return;
    heldMeetings(number).then(setList, () => { setList([]); });
  }, [number]);
  return (
    <section class="panel held">
      <div class="panel-head">
        <select class="select" aria-label={texts.value.planned.columns.room} value={number} onChange={(event) => { room.value = event.currentTarget.value; }} data-testid="held-room">
          {rooms.map((one) => <option key={one.number} value={one.number}>{one.name} {one.number}</option>)}
        </select>
      </div>
      {list?.length === 0 && <Empty icon="users" title={t.empty} hint="" />}
      {(list ?? []).map((one, index) => <Meeting key={one.id} meeting={one} open={index === 0} />)}
    </section>
  );
}

function Meeting({ meeting, open }: { meeting: HeldMeeting; open: boolean }): JSX.Element {
  const t = texts.value.planned;
  const [people, setPeople] = useState<Attendance[] | null>(null);
  const [unfolded, setUnfolded] = useState(open);
  useEffect(() => {
    if (unfolded && people === null) attendance(meeting.room, meeting.id).then(setPeople, () => { setPeople([]); });
  }, [unfolded]);
  const [from, to] = [new Date(meeting.started_at), meeting.ended_at === null ? null : new Date(meeting.ended_at)];
  return (
    <details class="held-meeting" open={open} onToggle={(event) => { setUnfolded(event.currentTarget.open); }} data-testid="held-meeting" data-id={meeting.id}>
      <summary>
        <strong>{meeting.planned?.title ?? t.attendance.adhoc}</strong>
        <span class="muted">{momentIn(zone.value, from)} – {to === null ? t.running : clockIn(zone.value, to)}</span>
      </summary>
      {people !== null && <People people={people} />}
      <p class="drawer-keys">
        <a class="button small" href={paper('attendance', meeting.room, meeting.id)} download data-testid="held-attendance"><Icon name="download" />{t.attendance.export}</a>
        <a class="button small" href={paper('minutes', meeting.room, meeting.id)} download data-testid="held-minutes"><Icon name="download" />{t.attendance.exportMinutes}</a>
      </p>
    </details>
  );
}

function People({ people }: { people: readonly Attendance[] }): JSX.Element {
  const t = texts.value.planned.attendance;
  if (people.length === 0) return <p class="muted">{t.nobody}</p>;
  return (
    <div class="table-box">
      <table class="table small-table attendance" data-testid="attendance">
        <thead><tr><th scope="col">{t.who}</th><th scope="col">{t.from}</th><th scope="col">{t.to}</th><th scope="col" class="number">{t.total}</th><th scope="col" /></tr></thead>
        <tbody>{people.map((one) => <Person key={one.member} one={one} />)}</tbody>
      </table>
    </div>
  );
}

function Person({ one }: { one: Attendance }): JSX.Element {
  const t = texts.value.planned.attendance;
  const stays = one.stays;
  const last = stays.at(-1);
  return (
    <tr data-member={one.member} data-absent={one.absent}>
      <td><strong>{nameOf(one.name)}</strong></td>
      <td>{stays[0] === undefined ? '–' : clockIn(zone.value, new Date(stays[0].from))}</td>
      <td>{last === undefined ? '–' : last.to === null ? t.there : clockIn(zone.value, new Date(last.to))}</td>
      <td class="number">{one.absent ? '–' : formatSpan(one.seconds)}</td>
      <td>
        {one.absent && <Badge tone="failure" icon="cross">{t.absent}</Badge>}
        {one.late_seconds > 0 && <Badge tone="warning" icon="clock">{t.late(formatSpan(one.late_seconds))}</Badge>}
        {one.left_early_seconds > 0 && <Badge tone="warning" icon="sign-out">{t.early(formatSpan(one.left_early_seconds))}</Badge>}
      </td>
    </tr>
  );
}
