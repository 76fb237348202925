import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { loopbackScript, newContext, openBrowser, session } from '../fixture/browser';
import { serious } from '../fixture/axe';
import { Fixture } from '../fixture/server';

const fixture = new Fixture();
const script = loopbackScript();
const venues = [
  { id: 'p1', venue: 'hq', zh: '主会场', en: 'Main venue', hue: 200 },
  { id: 'p2', venue: 'branch2', zh: '河西', en: 'Hexi', hue: 20 },
];
let browser: Browser;
let base = '';
let context: BrowserContext;
let page: Page;

beforeAll(async () => {
  [browser, base] = await Promise.all([openBrowser(), fixture.start()]);
});
afterAll(async () => {
  await browser.close();
  await fixture.stop();
});
beforeEach(async () => {
  context = await newContext(browser, { viewport: { width: 1280, height: 720 } });
});
afterEach(() => context.close());

/** Another visitor. */
async function fresh(): Promise<void> {
  await context.close();
  context = await newContext(browser, { viewport: { width: 1280, height: 720 } });
}

async function open(path: string, options: object): Promise<void> {
  await context.addInitScript(`localStorage.setItem('linehall.language', 'en'); globalThis.loopbackOptions = ${JSON.stringify({ venues, ...options })}; (() => { ${script} })();`);
  page = await context.newPage();
  await page.goto(base + path);
}
const acts = (): Promise<Record<string, unknown>[]> => page.evaluate("loopback.log.filter((message) => message.type === 'act').map(({ type, ...rest }) => rest)");
const order = (fields: object): Promise<unknown> => page.evaluate(`Object.assign(loopback.settings.meeting, ${JSON.stringify(fields)}); loopback.refresh()`);
const chair = { chair: 'hq', chair_name: { zh: '主会场', en: 'Main venue' }, chair_present: true };
const you = { member: 'hq', chair: true, may_chair: true };

test('a chair page joins without being there, and only the chair can press', async () => {
  await context.addCookies([session(base)]);
  await open('/chair/9000', { meeting: { you: { member: 'hq', may_chair: true } } });
  await page.waitForSelector('[data-testid=chair-state][data-state=in]');
  const sent = await page.evaluate<string[]>('loopback.log.map((message) => message.type)');
  expect(sent).not.toContain('publish');
  expect(await page.evaluate("loopback.log.find((message) => message.type === 'join').control")).toBe(true);
  expect(await page.getByTestId('chair-discussion').isDisabled()).toBe(true);
  await page.getByTestId('chair-request-chair').click();
  expect(await acts()).toEqual([{ act: 'chair.request' }]);
  await order({ ...chair, you });
  await page.locator('[data-testid=chair-venue][data-member=branch2] [data-testid=chair-broadcast]').click();
  await page.locator('[data-testid=chair-venue][data-member=branch2] [data-testid=chair-floor]').click();
  await page.locator('[data-testid=chair-venue][data-member=branch2] [data-testid=chair-mute]').click();
  await page.getByTestId('chair-layout-lecture').click();
  await page.getByTestId('chair-poll-start').click();
  await page.getByTestId('chair-roll').click();
  await page.getByTestId('chair-caption').fill('请就座');
  await page.keyboard.press('Enter');
  expect((await acts()).slice(1)).toEqual([
    { act: 'broadcast', target: 'branch2' }, { act: 'floor.give', target: 'branch2' }, { act: 'mute.one', target: 'branch2', on: true }, { act: 'layout', layout: 'lecture', on: true },
    { act: 'poll.start', seconds: 15, on: true, order: ['branch1', 'branch2', 'branch3', 'branch4', 'branch5'] }, { act: 'roll.start' }, { act: 'caption', text: '请就座' },
  ]);
  await page.getByTestId('chair-end').click();
  expect((await acts()).at(-1)).toEqual({ act: 'caption', text: '请就座' });
  await page.getByTestId('chair-end').click();
  expect((await acts()).at(-1)).toEqual({ act: 'end' });
});

test('what was refused is said, what was said is shown', async () => {
  await context.addCookies([session(base)]);
  await open('/chair/9000', { meeting: { ...chair, you }, chat: [] });
  await page.getByTestId('chair-discussion').click();
  await page.evaluate("loopback.say({ type: 'error', code: 'not_chair', message: '', request: 'act', act: 'discussion' })");
  await page.getByText('Only the chair may do that').waitFor();
  await page.evaluate("loopback.say({ type: 'chat', whole: false, lines: [{ at: new Date().toISOString(), member: 'branch2', name: { zh: '河西', en: 'Hexi' }, text: '<b>hello</b>' }] })");
  await page.getByText('<b>hello</b>').waitFor();
});

test('a wrong PIN is asked again; somebody without the right is told so', async () => {
  await context.addCookies([session(base)]);
  await open('/chair/9000', { meeting: { you }, answer: { type: 'error', code: 'pin_wrong', message: '', request: 'join' } });
  await page.getByTestId('pin-box').fill('4711');
  await page.keyboard.press('Enter');
  await page.waitForSelector('[data-testid=chair-state][data-state=in]');
  expect(await page.evaluate("loopback.log.filter((message) => message.type === 'join').map((message) => message.pin ?? null)")).toEqual([null, '4711']);
  await fresh();
  await open('/chair/9000', {});
  await page.waitForSelector('[data-testid=chair-state][data-state=unauthorized]');
});

test('a venue follows the chair: floor, mute, roll call, layout, banner, messages', async () => {
  await open('/room/9000?video=320x180@10#venue=branch1&token=good-token', { meeting: {} });
  await page.waitForSelector('[data-testid=room-state][data-state=in-meeting]');
  await page.getByTestId('room-hand').click();
  expect(await acts()).toEqual([{ act: 'floor.request' }]);
  await order({ ...chair, on_air: 'branch2', layout: 'single', forced: true, banner: 'Break' });
  await page.waitForSelector('[data-testid=room-stage][data-main=branch2]');
  expect(await page.getByTestId('room-tile').count()).toBe(1);
  expect(await page.getByTestId('room-layout').count()).toBe(0);
  await page.getByTestId('room-banner').getByText('Break').waitFor();
  await page.evaluate("loopback.settings.chairMuted = ['me']; loopback.refresh()");
  await page.getByTestId('room-note-muted').waitFor();
  expect(await page.getByTestId('room-mute-audio').isDisabled()).toBe(true);
  await order({ may_unmute: true });
  await page.getByTestId('room-mute-audio').click();
  expect(await page.evaluate("loopback.log.filter((message) => message.type === 'mute').at(-1)")).toEqual({ type: 'mute', media: 'audio', muted: false });
  await page.evaluate('loopback.settings.chairMuted = []');
  await order({ floor: 'branch1', on_air: 'branch1' });
  await page.getByTestId('room-granted').waitFor();
  await order({ roll: { started_at: new Date().toISOString(), until: new Date(Date.now() + 60_000).toISOString(), closed_at: null, entries: [] } });
  await page.getByTestId('room-roll-answer').waitFor();
  await page.keyboard.press('Enter'); // it has the focus
  expect((await acts()).at(-1)).toEqual({ act: 'roll.answer' });
  await page.getByTestId('room-chat').click();
  await page.getByTestId('chat-text').fill('hello');
  await page.keyboard.press('Enter');
  expect((await acts()).at(-1)).toEqual({ act: 'chat', text: 'hello' });
});

test('the chair leads from its TV with a remote control', async () => {
  await open('/room/9000?video=320x180@10#venue=branch1&token=good-token', { meeting: { you: { may_chair: true } } });
  await page.waitForSelector('[data-testid=room-state][data-state=in-meeting]');
  await page.getByTestId('room-request-chair').click();
  await order({ chair: 'branch1', chair_name: { zh: '林东', en: 'Lindong' }, chair_present: true, you: { chair: true, may_chair: true } });
  await page.getByTestId('room-lead').focus();
  await page.keyboard.press('Enter');
  await page.getByTestId('room-panel-lead').waitFor();
  await page.locator('[data-testid=room-lead-venue][data-member=branch2]').focus();
  await page.keyboard.press('Enter');
  const focused = (): Promise<string | undefined> => page.evaluate(() => (document.activeElement as HTMLElement | null)?.dataset.testid);
  await page.keyboard.press('ArrowDown');
  if ((await focused()) === 'room-lead-floor') await page.keyboard.press('ArrowLeft'); // the row's two keys are equally near
  expect(await focused()).toBe('room-lead-broadcast');
  await page.keyboard.press('Enter');
  expect((await acts()).at(-1)).toEqual({ act: 'broadcast', target: 'branch2' });
  await page.keyboard.press('Escape');
  expect(await page.getByTestId('room-panel-lead').count()).toBe(0);
});

test('a venue that waits is let in by the chair', async () => {
  await context.clock.install();
  await open('/room/9000?video=320x180@10#venue=branch1&token=good-token', { answer: { type: 'waiting', room: { number: '9000', name: '全省例会' } } });
  await page.waitForSelector('[data-testid=room-state][data-state=waiting]');
  await page.clock.runFor(12_000); // longer than a join may take
  await page.waitForSelector('[data-testid=room-state][data-state=waiting]');
  expect(await page.evaluate("loopback.log.filter((message) => message.type === 'join').length")).toBe(1);
  await page.evaluate("loopback.settings.answer = null; loopback.admit()");
  await page.waitForSelector('[data-testid=room-state][data-state=in-meeting]');
});

test.each(['light', 'dark'])('axe finds nothing serious on the chair page and a venue\'s, %s', async (theme) => {
  await context.addCookies([session(base)]);
  await context.addInitScript(`localStorage.setItem('linehall.theme', '${theme}')`);
  const led = { ...chair, on_air: 'branch2', floor: 'branch2', banner: 'Break', caption: 'Please be seated', requests: [{ member: 'branch2', name: { zh: '河西', en: 'Hexi' }, at: new Date().toISOString() }] };
  const roll = { started_at: new Date().toISOString(), until: new Date(Date.now() + 60_000).toISOString(), closed_at: null, entries: [{ member: 'branch2', name: { zh: '河西', en: 'Hexi' }, present: true, answered_at: null }] };
  const chat = [{ at: new Date().toISOString(), member: 'hq', name: { zh: '主会场', en: 'Main venue' }, text: 'hello' }];
  const quality = [{ participant: 'p1', line: 'good', publish_bps: 1, subscribe_bps: 1, loss_percent: 0, rtt_ms: 5 }, { participant: 'p2', line: 'tight', publish_bps: 1, subscribe_bps: 1, loss_percent: 2, rtt_ms: 50 }];
  await open('/chair/9000', { chairMuted: ['p1'], chat, quality, meeting: { ...led, you: { ...you, waiting: [{ id: 'g', name: { zh: '客', en: 'Guest' }, at: new Date().toISOString() }] } } });
  await page.waitForSelector('[data-testid=chair-state][data-state=in]');
  await page.getByTestId('chair-line').first().waitFor();
  expect(await serious(page)).toEqual([]);
  await order({ roll });
  await page.getByTestId('roll').waitFor();
  expect(await serious(page)).toEqual([]);
  await fresh();
  await context.addInitScript(`localStorage.setItem('linehall.theme', '${theme}')`);
  await open('/room/9000?video=320x180@10#venue=branch1&token=good-token', { chairMuted: ['me'], chat, meeting: { ...led, roll, you: { chair: true, may_chair: true } } });
  await page.waitForSelector('[data-testid=room-state][data-state=in-meeting]');
  await page.getByTestId('room-lead').click();
  expect(await serious(page)).toEqual([]);
});

test('a venue that stands by is called, and more participants than pictures are on further pages', async () => {
  await context.addCookies([session(base)]);
  const many = Array.from({ length: 11 }, (_, index) => ({ id: `q${String(index)}`, venue: `v${String(index)}`, zh: `会场${String(index)}`, en: `Venue ${String(index)}`, hue: index * 30 }));
  const away = { id: 'branch4', name: { zh: '南屏', en: 'Nanping' }, site: 'branch4', present: false, dropped: false, stands_by: true, called: false };
  await open('/chair/9000', { venues: many, meeting: { ...chair, you, title: 'Flood meeting', venues: [away] } });
  await page.waitForSelector('[data-testid=chair-state][data-state=in]');
  await expect.poll(() => page.getByTestId('chair-title').textContent()).toContain('Flood meeting');
  const shown = (): Promise<number> => page.locator('[data-testid=chair-venue][data-present=true]').count();
  await expect.poll(shown).toBe(8);
  await page.getByTestId('chair-page-after').click();
  await expect.poll(shown).toBe(4); // eleven and the venue itself
  await page.locator('[data-member=branch4] [data-testid=chair-call-venue]').click();
  expect(await acts()).toEqual([{ act: 'venue.call', target: 'branch4' }]);
  await order({ venues: [{ ...away, called: true }] });
  await expect.poll(() => page.locator('[data-member=branch4]').textContent()).toContain('Ringing');
});
