import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { serious } from '../fixture/axe';
import { loopbackScript, newContext, openBrowser } from '../fixture/browser';
import { Fixture } from '../fixture/server';

const fixture = new Fixture();
const script = loopbackScript();
const link = '/room/9000?video=320x180@10#venue=branch1&token=good-token';
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
  await context.addInitScript(`globalThis.loopbackOptions = ${JSON.stringify({ venues })}; (() => { ${script} })();`);
  page = await context.newPage();
});
afterEach(() => context.close());

const reach = (state: string): Promise<unknown> => page.waitForSelector(`[data-testid=room-state][data-state="${state}"]`, { timeout: 20_000 });
const sent = (type: string): Promise<Record<string, unknown>[]> => page.evaluate(`loopback.log.filter((message) => message.type === '${type}')`);
const frames = (): Promise<number> => page.evaluate(() => [...document.querySelectorAll<HTMLVideoElement>('[data-testid=room-tile] video')].reduce((sum, video) => sum + video.getVideoPlaybackQuality().totalVideoFrames, 0));

async function flowing(): Promise<void> {
  const before = await frames();
  await expect.poll(frames, { timeout: 15_000 }).toBeGreaterThan(before + 5);
}

test('a venue link joins without a click and takes the token out of the address', async () => {
  await page.goto(base + link);
  await reach('in-meeting');
  expect(page.url()).toBe(`${base}/room/9000?video=320x180@10`);
  expect(fixture.devices.at(-1)).toEqual({ venue: 'branch1', token: 'good-token' });
  await flowing();
  expect(await page.locator('[data-testid=room-tile]').evaluateAll((tiles) => tiles.map((tile) => (tile as HTMLElement).dataset.venue))).toEqual(['hq', 'branch2']);
  await page.reload();
  await reach('in-meeting');
});

test.each([[1280, 720], [1920, 1080], [1366, 768], [390, 844]])('every tile is whole on a screen of %d x %d', async (width, height) => {
  await page.setViewportSize({ width, height });
  await page.goto(base + link);
  await reach('in-meeting');
  await page.getByTestId('room-tile').nth(1).waitFor();
  const cut = await page.evaluate(() => {
    const stage = document.querySelector('[data-testid=room-stage]')?.getBoundingClientRect();
    return [...document.querySelectorAll('[data-testid=room-tile]')].map((tile) => tile.getBoundingClientRect())
      .filter((tile) => stage === undefined || tile.top < stage.top - 1 || tile.bottom > stage.bottom + 1 || tile.left < stage.left - 1 || tile.right > stage.right + 1).length;
  });
  expect(cut).toBe(0);
});

test('says what it wants to see, in device pixels', async () => {
  await page.goto(base + link);
  await reach('in-meeting');
  await expect.poll(async () => ((await sent('want')).at(-1)?.views as { participant: string; height: number }[] | undefined)?.map((view) => view.participant)).toEqual(['p1', 'p2']);
  const views = (await sent('want')).at(-1)?.views as { height: number }[];
  const height = await page.locator('[data-testid=room-tile]').first().evaluate((tile) => tile.clientHeight);
  expect(views[0]?.height).toBe(Math.ceil(height / 45) * 45);
});

test('offers audio, camera and content in that order, the camera as l, m, h', async () => {
  await page.goto(base + link);
  await reach('in-meeting');
  const sdp = String((await sent('publish'))[0]?.sdp);
  expect(sdp.match(/^m=\w+/gm)).toEqual(['m=audio', 'm=video', 'm=video']);
  expect(sdp).toMatch(/a=simulcast:send l;m;h/);
});

test('mutes, and tells the others', async () => {
  await page.goto(base + link);
  await reach('in-meeting');
  await page.getByTestId('room-mute-audio').click();
  await page.getByTestId('room-mute-video').click();
  expect((await sent('mute')).map(({ media, muted }) => ({ media, muted }))).toEqual([{ media: 'audio', muted: true }, { media: 'video', muted: true }]);
  await page.getByTestId('room-mute-audio').click();
  expect((await sent('mute')).at(-1)).toMatchObject({ media: 'audio', muted: false });
});

test('leaves, stays away over a reload, and joins again with Enter', async () => {
  await page.goto(base + link);
  await reach('in-meeting');
  await page.getByTestId('room-leave').click();
  await reach('left');
  expect(await sent('leave')).toHaveLength(1);
  await page.keyboard.press('Enter');
  await reach('in-meeting');
  await page.getByTestId('room-leave').click();
  await reach('left');
  await page.reload();
  await reach('prejoin');
});

test('a break of the signalling alone keeps the pictures; mute is said again', async () => {
  await page.goto(base + link);
  await reach('in-meeting');
  await page.getByTestId('room-mute-audio').click();
  await page.evaluate('loopback.cut(false)');
  await reach('reconnecting');
  await page.getByTestId('room-note-reconnecting').waitFor();
  await flowing();
  await page.evaluate('loopback.up(false)');
  await reach('in-meeting');
  expect((await sent('join')).at(-1)).toMatchObject({ resume: 'r1' });
  await expect.poll(async () => (await sent('mute')).length).toBe(2);
});

test('an appliance that restarted gets new connections from the live camera, without a hand', async () => {
  await page.goto(base + link);
  await reach('in-meeting');
  await flowing();
  const offers = (await sent('publish')).length;
  await page.evaluate('loopback.cut(true)');
  await reach('reconnecting');
  await page.evaluate('loopback.up(true)');
  await reach('in-meeting');
  expect((await sent('publish')).length).toBeGreaterThan(offers);
  await flowing();
});

test('shows shared content large, and lets one share', async () => {
  await page.addInitScript(`globalThis.loopbackOptions = ${JSON.stringify({ venues, content: 'p1' })}; loopback.settings.content = 'p1';`);
  await page.addInitScript(() => {
    navigator.mediaDevices.getDisplayMedia = () => {
      const canvas = document.createElement('canvas');
      canvas.getContext('2d')?.fillRect(0, 0, 10, 10);
      return Promise.resolve(canvas.captureStream(5));
    };
  });
  await page.goto(base + link);
  await reach('in-meeting');
  const content = await page.getByTestId('room-content').evaluate((tile) => tile.clientHeight);
  expect(content).toBeGreaterThan(2 * (await page.getByTestId('room-tile').first().evaluate((tile) => tile.clientHeight)));
  await page.getByTestId('room-share').click();
  await page.getByTestId('room-note-share').waitFor();
  expect((await sent('content')).at(-1)).toMatchObject({ active: true });
  await page.getByTestId('room-share').click();
  expect((await sent('content')).at(-1)).toMatchObject({ active: false });
});

test.each([['replaced', 'replaced'], ['removed', 'removed'], ['room_closed', 'room_closed']])('an end by "%s" is said in words', async (reason, state) => {
  await page.goto(base + link);
  await reach('in-meeting');
  await page.evaluate(`loopback.say({ type: 'ended', reason: '${reason}' })`);
  await reach(state);
  await page.getByTestId('room-join').waitFor();
});

test('a link that is not valid is said in words, and so is a page without a venue', async () => {
  await page.goto(`${base}/room/9000#venue=branch1&token=old`);
  await reach('link-invalid');
  await page.goto(`${base}/room/9001`);
  await reach('unauthorized');
});

test('a camera that is missing does not keep a venue out', async () => {
  await page.addInitScript(() => {
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = (wanted) => (wanted?.video === undefined ? real(wanted) : Promise.reject(new DOMException('none', 'NotFoundError')));
  });
  await page.goto(base + link);
  await reach('in-meeting');
  expect(await page.getByTestId('room-mute-video').isDisabled()).toBe(true);
});

test('arrows and Enter are enough', async () => {
  await page.goto(base + link);
  await reach('in-meeting');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Enter');
  await expect.poll(async () => (await sent('mute')).at(-1)).toMatchObject({ media: 'video', muted: true });
  const focused = (): Promise<string | undefined> => page.evaluate(() => (document.activeElement as HTMLElement | null)?.dataset.testid);
  for (let i = 0; i < 10 && (await focused()) !== 'room-leave'; i++) await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Enter');
  await reach('left');
});

test('tests can look inside', async () => {
  await page.goto(base + link);
  await reach('in-meeting');
  await flowing();
  const view = await page.evaluate(async () => {
    const stats = await window.__linehall.stats();
    return { state: window.__linehall.state, count: window.__linehall.participants.length, pictures: stats.pictures.map((picture) => picture.participant) };
  });
  expect(view).toEqual({ state: 'in-meeting', count: 3, pictures: ['p1', 'p2'] });
});

test('still pictures are sent while they are asked for, and shown with the reason where the line carries no other', async () => {
  await page.goto(base + link);
  await reach('in-meeting');
  await flowing();
  await page.evaluate('loopback.say({ type: \'stills\', active: true, interval_ms: 300, max_octets: 8192 })');
  await expect.poll(async () => (await sent('still')).length, { timeout: 10_000 }).toBeGreaterThan(2);
  const jpeg = String((await sent('still')).at(-1)?.jpeg);
  const octets = Buffer.from(jpeg, 'base64');
  expect(octets.length).toBeLessThanOrEqual(8192);
  expect([octets.readUInt16BE(0), octets.readUInt16BE(octets.length - 2)]).toEqual([0xffd8, 0xffd9]);
  await page.evaluate('loopback.say({ type: \'stills\', active: false, interval_ms: 300, max_octets: 8192 })');
  const count = (await sent('still')).length;

  await page.evaluate('loopback.starve(\'p2\')');
  const tile = page.locator('[data-testid=room-tile][data-venue=branch2]');
  await expect.poll(() => tile.getAttribute('data-picture')).toBe('false');
  await page.evaluate(`loopback.say({ type: 'still', participant: 'p2', jpeg: '${jpeg}' })`);
  await expect.poll(() => tile.getByTestId('room-still').evaluate((image) => (image as HTMLImageElement).naturalWidth)).toBe(320);
  expect(await tile.getAttribute('data-still')).toBe('true');
  expect(await tile.textContent()).toMatch(/河西/);
  expect(await tile.textContent()).toMatch(/专线/);
  if (process.env.LINEHALL_LOOK !== undefined) {
    for (const [width, height] of [[1280, 720], [1920, 1080], [390, 844]] as const) {
      await page.setViewportSize({ width, height });
      await page.waitForTimeout(300);
      await page.screenshot({ path: `${process.env.LINEHALL_LOOK}/still-${String(width)}.png` });
    }
  }
  await page.evaluate('loopback.starve(\'\')');
  await expect.poll(() => tile.getAttribute('data-picture')).toBe('true');
  expect((await sent('still')).length).toBeLessThanOrEqual(count + 1);
});

test('a page that stands by rings when it is called, and comes or declines by keyboard alone', async () => {
  await page.addInitScript(`localStorage.setItem('linehall.room.9000', JSON.stringify({ venue: 'branch1', name: null, auto: false })); loopback.settings.standby = { next_title: '例会', next_at: Date.now() + 600000, next_until: Date.now() + 4200000 };`);
  await context.addCookies([{ name: 'linehall_device', value: '1', url: base }]);
  await page.goto(`${base}/room/9000?video=320x180@10`);
  await reach('prejoin');
  await expect.poll(() => page.getByTestId('room-coming').textContent()).toMatch(/待命.*例会.*后开始/s);
  expect(await serious(page)).toEqual([]);
  const called = "{ called: true, called_by: { zh: '主会场', en: 'Main venue' }, meeting: 'm1', title: '防汛会商', present: 3 }";
  await page.evaluate(`loopback.standby(${called})`);
  await expect.poll(() => page.getByTestId('room-ringing').textContent()).toMatch(/主会场请您入会.*防汛会商/s);
  expect(await serious(page)).toEqual([]);
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Enter');
  expect(await sent('decline')).toHaveLength(1);
  await page.evaluate('loopback.standby({})');
  await expect.poll(() => page.getByTestId('room-ringing').count()).toBe(0);
  await page.evaluate(`loopback.standby(${called})`);
  await page.getByTestId('room-answer').waitFor();
  await page.keyboard.press('Enter');
  await reach('in-meeting');
});

test('a kiosk comes by itself when it is called, also after a meeting was closed', async () => {
  await page.addInitScript("localStorage.setItem('linehall.room.9000', JSON.stringify({ venue: 'branch1', name: null, auto: false }))");
  await context.addCookies([{ name: 'linehall_device', value: '1', url: base }]);
  await page.goto(`${base}/room/9000?kiosk&video=320x180@10`);
  await reach('prejoin');
  await page.getByTestId('room-coming').waitFor();
  await page.evaluate('loopback.standby({ called: true })');
  await reach('in-meeting');
  await page.evaluate("loopback.say({ type: 'ended', reason: 'meeting_ended' })");
  await reach('meeting_ended');
  await page.getByTestId('room-coming').waitFor();
  await page.evaluate('loopback.standby({ called: true })');
  await reach('in-meeting');
});
