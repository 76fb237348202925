import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loopbackScript, newContext, openBrowser } from '../fixture/browser';
import { Fixture } from '../fixture/server';

const folder = process.env.SCREENS ?? join(import.meta.dirname, '../../../docs/screens');
const fixture = new Fixture();
const script = loopbackScript();
let browser: Browser;
let base = '';

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  [browser, base] = await Promise.all([openBrowser(), fixture.start()]);
});
afterAll(async () => {
  await browser.close();
  await fixture.stop();
});

const sizes = { tv: { width: 1920, height: 1080 }, pc: { width: 1280, height: 720 }, phone: { width: 390, height: 844 } };
const venues = [
  { id: 'p1', venue: 'hq', zh: '主会场', en: 'Main venue', hue: 200 },
  { id: 'p2', venue: 'branch2', zh: '河西', en: 'Hexi', hue: 20 },
  { id: 'p3', venue: 'branch3', zh: '北山', en: 'Beishan', hue: 140 },
  { id: 'p4', venue: 'branch4', zh: '南屏', en: 'Nanping', hue: 265 },
  { id: 'p5', venue: 'branch5', zh: '云岭', en: 'Yunling', hue: 320 },
];
const phone = { id: 'p6', venue: '', zh: '8021 陈静', en: '8021 Chen Jing', hue: 0 };
const led = { chair: 'hq', chair_name: { zh: '主会场', en: 'Main venue' }, chair_present: true, on_air: 'branch2', floor: 'branch2', layout: 'speaker', forced: true, mute_all: true };
const joined = '/room/9000#venue=branch1&token=good-token';

interface Shot {
  name: string;
  path?: string;
  size: keyof typeof sizes;
  lang: string;
  theme: string;
  options?: object;
  wait?: string;
  act?: (page: Page) => Promise<void>;
  deny?: boolean;
}

const inMeeting = '[data-testid=room-state][data-state=in-meeting]';
const shots: Shot[] = [
  { name: 'room-prejoin-tv-zh-dark', path: '/room/9000', size: 'tv', lang: 'zh-CN', theme: 'dark', wait: '[data-testid=room-join]' },
  { name: 'room-meeting-tv-zh-dark', size: 'tv', lang: 'zh-CN', theme: 'dark', options: { venues, speaking: ['p1'], muted: ['p3', 'p5'] } },
  { name: 'room-content-tv-zh-dark', size: 'tv', lang: 'zh-CN', theme: 'dark', options: { venues, speaking: ['p1'], muted: ['p3'], content: 'p1' } },
  { name: 'room-tight-pc-en-light', size: 'pc', lang: 'en', theme: 'light', options: { venues: [...venues, phone], speaking: ['p2'], dark: ['p4'], line: 'tight' } },
  { name: 'room-phone-zh-dark', size: 'phone', lang: 'zh-CN', theme: 'dark', options: { venues, speaking: ['p1'] } },
  ...(['tv', 'pc', 'phone'] as const).flatMap((size) => ['zh-CN', 'en'].map((lang) => ({
    name: `room-floor-${size}-${lang.slice(0, 2)}-dark`, size, lang, theme: 'dark',
    options: { venues, speaking: ['p2'], chairMuted: ['me', 'p1', 'p4', 'p5'], meeting: { ...led, banner: '全省防汛工作会议', caption: '请各会场准备发言', requests: [{ member: 'branch1', name: { zh: '林东', en: 'Lindong' }, at: new Date().toISOString() }] } },
  }))),
  { name: 'room-granted-tv-zh-dark', size: 'tv', lang: 'zh-CN', theme: 'dark', options: { venues, meeting: led }, act: async (page) => {
    await page.evaluate("loopback.settings.meeting = { ...loopback.settings.meeting, floor: 'branch1', on_air: 'branch1' }; loopback.refresh()");
    await page.waitForSelector('[data-testid=room-granted]');
  } },
  { name: 'room-roll-tv-zh-dark', size: 'tv', lang: 'zh-CN', theme: 'dark', options: { venues, meeting: { ...led, floor: '', on_air: '', layout: '', forced: false, roll: { started_at: new Date().toISOString(), until: new Date(Date.now() + 45_000).toISOString(), closed_at: null, entries: [] } } } },
  ...(['tv', 'pc', 'phone'] as const).map((size) => ({
    name: `room-lead-${size}-${size === 'pc' ? 'en' : 'zh'}-dark`, size, lang: size === 'pc' ? 'en' : 'zh-CN', theme: 'dark',
    options: { venues, speaking: ['p2'], chairMuted: ['p4'], meeting: { ...led, chair: 'branch1', chair_name: { zh: '林东', en: 'Lindong' }, floor: '', you: { chair: true, may_chair: true }, requests: [{ member: 'branch3', name: { zh: '北山', en: 'Beishan' }, at: new Date().toISOString() }] } },
    act: async (page: Page) => { await page.getByTestId('room-lead').click(); },
  })),
  { name: 'room-chat-tv-zh-dark', size: 'tv', lang: 'zh-CN', theme: 'dark', options: { venues, meeting: { ...led, floor: '', layout: 'pip' }, chat: [{ at: new Date().toISOString(), member: 'hq', name: { zh: '主会场', en: 'Main venue' }, text: '下一项：防汛工作安排，请各会场准备。' }] }, act: async (page) => { await page.getByTestId('room-chat').click(); } },
  { name: 'room-waiting-tv-zh-dark', size: 'tv', lang: 'zh-CN', theme: 'dark', options: { venues, answer: { type: 'waiting', room: { number: '9000', name: '全省例会' } } }, wait: '[data-state=waiting]' },
  { name: 'room-pin-pc-en-dark', size: 'pc', lang: 'en', theme: 'dark', options: { venues, answer: { type: 'error', code: 'pin_required', message: '', request: 'join' } }, wait: '[data-testid=pin]' },
  { name: 'room-alone-pc-en-dark', size: 'pc', lang: 'en', theme: 'dark', options: {} },
  {
    name: 'room-reconnecting-tv-zh-dark', size: 'tv', lang: 'zh-CN', theme: 'dark', options: { venues },
    act: async (page) => {
      await page.evaluate('loopback.cut(false)');
      await page.waitForSelector('[data-testid=room-note-reconnecting]');
    },
  },
  { name: 'room-left-pc-zh-light', size: 'pc', lang: 'zh-CN', theme: 'light', options: { venues }, act: async (page) => {
    await page.getByTestId('room-leave').click();
    await page.waitForSelector('[data-state=left]');
  } },
  ...([['tv', 'zh-CN', 'dark'], ['pc', 'en', 'light'], ['phone', 'zh-CN', 'light']] as const).map(([size, lang, theme]) => ({
    name: `room-ringing-${size}-${lang === 'en' ? 'en' : 'zh'}-${theme}`, path: '/room/9000?prejoin', size, lang, theme, wait: '[data-testid=room-join]', options: { standby: { called: true, called_by: { zh: '主会场', en: 'Main venue' }, title: '全省防汛工作会议' } },
  })),
  ...([['tv', 'en', 'dark'], ['pc', 'zh-CN', 'light'], ['phone', 'en', 'dark']] as const).map(([size, lang, theme]) => ({
    name: `room-prejoin-next-${size}-${lang === 'en' ? 'en' : 'zh'}-${theme}`, path: '/room/9000?prejoin', size, lang, theme, wait: '[data-testid=room-coming]', options: { standby: { next_title: '全省工作例会', next_at: Date.now() + 1_510_000, next_until: Date.now() + 5_000_000 } },
  })),
  { name: 'room-permission-pc-zh-dark', path: '/room/9000', size: 'pc', lang: 'zh-CN', theme: 'dark', wait: '[data-state=no-permission]', deny: true },
  { name: 'room-unlinked-pc-en-dark', path: '/room/9000', size: 'pc', lang: 'en', theme: 'dark', wait: '[data-state=unauthorized]' },
];

test.each(shots)('$name', async (shot) => {
  const context = await newContext(browser, { viewport: sizes[shot.size] });
  if (shot.deny === true || shot.wait === '[data-testid=room-join]' || shot.wait === '[data-testid=room-coming]') await context.addCookies([{ name: 'linehall_device', value: '1', url: base }]);
  await context.addInitScript(`
    localStorage.setItem('linehall.language', '${shot.lang}');
    localStorage.setItem('linehall.theme', '${shot.theme}');
    ${shot.name.includes('prejoin') || shot.name.includes('ringing') ? `localStorage.setItem('linehall.room.9000', JSON.stringify({ venue: 'branch1', name: null, auto: false }));` : ''}
    ${shot.deny === true ? "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'));" : ''}
    globalThis.loopbackOptions = ${JSON.stringify(shot.options ?? {})};
    (() => { ${script} })();
    ${shot.deny === true ? '' : 'navigator.mediaDevices.getUserMedia = () => Promise.resolve(loopback.camera(80));'}
  `);
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().includes('401')) errors.push(message.text());
  });
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto(base + (shot.path ?? joined));
  await page.waitForSelector(shot.wait ?? inMeeting);
  if (shot.path === undefined && shot.wait === undefined) {
    expect(page.url()).not.toContain('token');
    await page.waitForFunction(() => [...document.querySelectorAll('[data-testid=room-tile][data-venue^=branch]')].every((tile) => tile.querySelector('[data-testid=room-video]') !== null));
    await page.waitForTimeout(2500);
  }
  await shot.act?.(page);
  await page.waitForTimeout(800);
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight)).toBe(true);
  await page.screenshot({ path: join(folder, `${shot.name}.png`) });
  expect(errors).toEqual([]);
  await context.close();
});
