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
const at = (secondsAgo: number): string => new Date(Date.now() - secondsAgo * 1000).toISOString();
const names: Record<string, { zh: string; en: string }> = {
  hq: { zh: '主会场', en: 'Main venue' }, branch1: { zh: '林东', en: 'Lindong' }, branch2: { zh: '河西', en: 'Hexi' }, branch3: { zh: '北山', en: 'Beishan' }, branch4: { zh: '南屏', en: 'Nanping' }, branch5: { zh: '云岭', en: 'Yunling' },
};
const venues = ['hq', 'branch1', 'branch2', 'branch3', 'branch4'].map((venue, index) => ({ id: `p${String(index + 1)}`, venue, ...names[venue], hue: [200, 80, 20, 140, 265][index] }));
const minute = (secondsAgo: number, actor: string, action: string, target = '', detail = ''): object => ({
  at: at(secondsAgo), actor, actor_name: names[actor] ?? { zh: '', en: '' }, action, target, target_name: names[target] ?? { zh: '', en: '' }, detail,
});
const minutes = [
  minute(700, '', 'opened'), minute(690, 'hq', 'joined'), minute(680, 'hq', 'chair.request'), minute(600, 'hq', 'roll.start', '', '60 s'), minute(540, '', 'roll.close', '', 'answered: hq branch1; no answer: -; absent: branch5'),
  minute(300, 'branch3', 'floor.request'), minute(200, 'hq', 'floor.give', 'branch1'), minute(30, 'hq', 'mute.one', 'branch2', 'on'),
];
const chat = [
  { at: at(400), member: 'branch2', name: names.branch2, text: '主会场声音很清楚。' }, { at: at(200), member: 'hq', name: names.hq, text: '下一项：防汛工作安排，请各会场准备。' },
  { at: at(90), member: 'branch3', name: names.branch3, text: '收到' },
];
const quality = venues.map((venue, index) => ({ participant: venue.id, line: ['none', 'good', 'tight', 'congested', 'good'][index], publish_bps: 800_000, subscribe_bps: 1_200_000, loss_percent: index * 0.4, rtt_ms: 8 + index * 9 }));
const roll = {
  started_at: at(20), until: new Date(Date.now() + 40_000).toISOString(), closed_at: null,
  entries: Object.entries(names).map(([member, name], index) => ({ member, name, present: index < 5, answered_at: index < 3 ? at(12 - index) : null })),
};
const led = {
  chair: 'hq', chair_name: names.hq, chair_present: true, on_air: 'branch1', floor: 'branch1', may_unmute: true, layout: 'speaker', forced: true, ends_at: new Date(Date.now() + 2_400_000).toISOString(),
  requests: [{ member: 'branch3', name: names.branch3, at: at(80) }, { member: 'branch4', name: names.branch4, at: at(20) }], banner: '全省防汛工作会议',
};
const you = { member: 'hq', chair: true, may_chair: true, may_revoke: true, waiting: [{ id: 'g1', name: { zh: '8021 陈静', en: '8021 Chen Jing' }, at: at(40) }], calls: [{ id: 'd1', number: '2003', name: '林东值班室', state: 'ringing', reason: '', at: at(5) }, { id: 'd2', number: '013800000000', name: '', state: 'failed', reason: 'busy', at: at(20) }] };
const options = { venues, chat, minutes, quality, speaking: ['p2'], chairMuted: ['p3', 'p4', 'p5'], meeting: { ...led, you } };

interface Shot {
  name: string;
  path?: string;
  size: keyof typeof sizes;
  lang: string;
  theme: string;
  options: object;
  wait?: string;
  act?: (page: Page) => Promise<void>;
}

const inMeeting = '[data-testid=chair-state][data-state=in]';
const poll = { order: ['branch1', 'branch2', 'branch3', 'branch4', 'branch5'], seconds: 15, skip_absent: true, paused: false, current: 'branch2', next_at: new Date(Date.now() + 11_000).toISOString() };
const shots: Shot[] = [
  ...(['tv', 'pc', 'phone'] as const).flatMap((size) => ['zh-CN', 'en'].map((lang) => ({ name: `chair-${size}-${lang.slice(0, 2)}-${size === 'pc' ? 'light' : 'dark'}`, size, lang, theme: size === 'pc' ? 'light' : 'dark', options }))),
  { name: 'chair-roll-pc-zh-dark', size: 'pc', lang: 'zh-CN', theme: 'dark', options: { ...options, chairMuted: [], meeting: { ...led, floor: '', on_air: '', layout: 'grid', roll, requests: [], you } } },
  { name: 'chair-poll-pc-en-light', size: 'pc', lang: 'en', theme: 'light', options: { ...options, chairMuted: [], meeting: { ...led, floor: '', on_air: 'branch2', layout: '', poll, requests: [], you } }, act: async (page) => { await page.getByTestId('chair-tab-record').click(); } },
  { name: 'chair-free-pc-zh-light', size: 'pc', lang: 'zh-CN', theme: 'light', options: { venues, quality, meeting: { you: { member: 'hq', may_chair: true, may_revoke: true } } } },
  { name: 'chair-pin-pc-zh-dark', size: 'pc', lang: 'zh-CN', theme: 'dark', options: { venues, answer: { type: 'error', code: 'pin_required', message: '', request: 'join' } }, wait: '[data-testid=pin]' },
];

test.each(shots)('$name', async (shot) => {
  const context = await newContext(browser, { viewport: sizes[shot.size] });
  await context.addCookies([{ name: 'linehall_session', value: '1', url: base }]);
  await context.addInitScript(`
    localStorage.setItem('linehall.language', '${shot.lang}');
    localStorage.setItem('linehall.theme', '${shot.theme}');
    globalThis.loopbackOptions = ${JSON.stringify(shot.options)};
    (() => { ${script} })();
  `);
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().includes('401')) errors.push(message.text());
  });
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto(base + (shot.path ?? '/chair/9000'));
  await page.waitForSelector(shot.wait ?? inMeeting);
  await shot.act?.(page);
  await page.waitForTimeout(1500);
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
  if (shot.size !== 'phone') expect(await page.evaluate(() => document.documentElement.scrollHeight <= innerHeight)).toBe(true);
  await page.screenshot({ path: join(folder, `${shot.name}.png`) });
  expect(errors).toEqual([]);
  await context.close();
});
