import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { calendars, makeCalendar, revokeCalendar } from '../../api/http';
import { topics } from '../../api/live';
import type { CalendarFeed } from '../../api/types';
import { nameOf, texts } from '../../i18n';
import { Drawer } from '../../ui/drawer';
import { Icon } from '../../ui/icon';
import { say } from '../../ui/toast';
import { subscribing } from './state';

/** The links that calendar programs follow. */
export function Calendars(): JSX.Element {
  const t = texts.value.planned;
  const c = t.calendar;
  const rooms = topics.rooms.value?.rooms ?? [];
  const [list, setList] = useState<CalendarFeed[]>([]);
  const [which, setWhich] = useState('/');
  const [url, setURL] = useState('');
  const read = async (): Promise<void> => {
    try {
      setList(await calendars());
    } catch {
      say(t.loadFailed, false);
    }
  };
  useEffect(() => void read(), []);
  const make = async (): Promise<void> => {
    const [room = '', venue = ''] = which.split('/');
    try {
      setURL((await makeCalendar(room, venue)).url);
      await read();
    } catch {
      say(t.details.failed, false);
    }
  };
  const revoke = async (id: string): Promise<void> => {
    try {
      await revokeCalendar(id);
      say(c.revoked);
    } catch {
      say(t.details.failed, false);
    }
    await read();
  };
  const name = (room: string, venue: string): string => {
    const found = rooms.find((one) => one.number === room);
    const place = rooms.flatMap((one) => one.venues ?? []).find((one) => one.id === venue);
    return venue !== '' ? (place === undefined ? venue : nameOf(place.name)) : room === '' ? c.all : `${found?.name ?? ''} ${room}`.trim();
  };
  const venues = [...new Set(rooms.flatMap((one) => one.venues ?? []).map((one) => one.id))];
  return (
    <Drawer title={c.title} testid="calendars" onClose={() => { subscribing.value = false; }}>
      <p>{c.text}</p>
      <div class="calendar-make">
        <label class="visually-hidden" for="calendar-which">{c.which}</label>
        <select id="calendar-which" class="select" value={which} onChange={(event) => { setWhich(event.currentTarget.value); }} data-testid="calendar-which">
          <option value="/">{c.all}</option>
          {rooms.map((one) => <option key={one.number} value={`${one.number}/`}>{name(one.number, '')}</option>)}
          {venues.map((id) => <option key={id} value={`/${id}`}>{name('', id)}</option>)}
        </select>
        <button type="button" class="button primary" onClick={() => void make()} data-testid="calendar-make"><Icon name="link" />{c.make}</button>
      </div>
      {url !== '' && (
        <div class="field">
          <label for="calendar-url">{c.made}</label>
          <input id="calendar-url" class="input mono" readOnly value={url} onFocus={(event) => { event.currentTarget.select(); }} data-testid="calendar-url" />
          <button type="button" class="button small" onClick={() => void navigator.clipboard.writeText(url).then(() => { say(c.copied); }, () => undefined)}><Icon name="copy" />{c.copy}</button>
        </div>
      )}
      <h3>{c.list}</h3>
      {list.length === 0 && <p class="muted">{c.none}</p>}
      <ul class="calendar-list">
        {list.map((feed) => (
          <li key={feed.id} data-testid="calendar-feed">
            <span><strong>{name(feed.room, feed.venue)}</strong><small class="muted">{feed.created_by}</small></span>
            <button type="button" class="button small" onClick={() => void revoke(feed.id)}>{c.revoke}</button>
          </li>
        ))}
      </ul>
    </Drawer>
  );
}
