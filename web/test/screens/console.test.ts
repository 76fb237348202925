import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newContext, openBrowser, session } from '../fixture/browser';
import { Fixture } from '../fixture/server';

const folder = process.env.SCREENS ?? join(import.meta.dirname, '../../../docs/screens');
const fixture = new Fixture();
const quiet = new Fixture({ empty: true });
let browser: Browser;
let base = '';
let quietBase = '';

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  [browser, base, quietBase] = await Promise.all([openBrowser(), fixture.start(), quiet.start()]);
});
afterAll(async () => {
  await browser.close();
  await fixture.stop();
  await quiet.stop();
});

const sizes = { tv: { width: 1920, height: 1080 }, wall: { width: 1600, height: 900 }, pc: { width: 1280, height: 720 }, phone: { width: 390, height: 844 } };

test.each([
  { name: 'overview-tv-zh-light', path: '/', size: 'tv', lang: 'zh-CN', theme: 'light' },
  { name: 'overview-wall-zh-dark', path: '/?wall', size: 'wall', lang: 'zh-CN', theme: 'dark' },
  { name: 'overview-pc-en-dark', path: '/', size: 'pc', lang: 'en', theme: 'dark' },
  { name: 'overview-phone-zh-light', path: '/', size: 'phone', lang: 'zh-CN', theme: 'light' },
  { name: 'overview-empty-pc-zh-light', path: '/', size: 'pc', lang: 'zh-CN', theme: 'light', empty: true },
  { name: 'terminals-pc-zh-light', path: '/terminals', size: 'pc', lang: 'zh-CN', theme: 'light' },
  { name: 'terminals-phone-en-dark', path: '/terminals', size: 'phone', lang: 'en', theme: 'dark' },
  { name: 'calls-pc-en-light', path: '/calls', size: 'pc', lang: 'en', theme: 'light', fold: true },
  { name: 'records-pc-zh-light', path: '/records', size: 'pc', lang: 'zh-CN', theme: 'light' },
  { name: 'records-phone-en-dark', path: '/records', size: 'phone', lang: 'en', theme: 'dark' },
  { name: 'record-tv-zh-dark', path: '/records', size: 'tv', lang: 'zh-CN', theme: 'dark', record: 0 },
  { name: 'record-pc-en-light', path: '/records', size: 'pc', lang: 'en', theme: 'light', record: 4, message: 5 },
  { name: 'record-recording-pc-zh-light', path: '/records', size: 'pc', lang: 'zh-CN', theme: 'light', record: 1 },
  { name: 'record-recording-pc-en-dark', path: '/records', size: 'pc', lang: 'en', theme: 'dark', record: 7 },
  { name: 'calls-recording-pc-zh-dark', path: '/calls', size: 'pc', lang: 'zh-CN', theme: 'dark', fold: true },
  { name: 'record-phone-zh-light', path: '/records', size: 'phone', lang: 'zh-CN', theme: 'light', record: 1 },
  { name: 'lines-tv-zh-dark', path: '/lines', size: 'tv', lang: 'zh-CN', theme: 'dark' },
  { name: 'rooms-pc-zh-light', path: '/rooms', size: 'pc', lang: 'zh-CN', theme: 'light' },
  { name: 'rooms-phone-en-light', path: '/rooms', size: 'phone', lang: 'en', theme: 'light' },
  { name: 'meetings-pc-zh-light', path: '/meetings', size: 'pc', lang: 'zh-CN', theme: 'light' },
  { name: 'meetings-tv-en-dark', path: '/meetings', size: 'tv', lang: 'en', theme: 'dark' },
  { name: 'meetings-phone-zh-dark', path: '/meetings', size: 'phone', lang: 'zh-CN', theme: 'dark' },
  { name: 'meetings-empty-pc-en-light', path: '/meetings', size: 'pc', lang: 'en', theme: 'light', empty: true },
  { name: 'meetings-list-pc-en-light', path: '/meetings', size: 'pc', lang: 'en', theme: 'light', press: ['meetings-view-list'] },
  { name: 'meetings-held-pc-zh-dark', path: '/meetings', size: 'pc', lang: 'zh-CN', theme: 'dark', press: ['meetings-view-held'] },
  { name: 'meetings-held-phone-en-light', path: '/meetings', size: 'phone', lang: 'en', theme: 'light', press: ['meetings-view-held'] },
  { name: 'meetings-details-pc-zh-light', path: '/meetings', size: 'pc', lang: 'zh-CN', theme: 'light', press: ['meeting-card'] },
  { name: 'meetings-form-pc-zh-dark', path: '/meetings', size: 'pc', lang: 'zh-CN', theme: 'dark', press: ['meetings-add', 'plan-day-2', 'plan-save'] },
  { name: 'meetings-form-phone-en-light', path: '/meetings', size: 'phone', lang: 'en', theme: 'light', press: ['meetings-add'] },
  { name: 'meetings-calendar-pc-en-dark', path: '/meetings', size: 'pc', lang: 'en', theme: 'dark', press: ['meetings-calendar', 'calendar-make'] },
  { name: 'programmes-pc-zh-light', path: '/recordings', size: 'pc', lang: 'zh-CN', theme: 'light' },
  { name: 'programme-pc-en-dark', path: '/recordings', size: 'pc', lang: 'en', theme: 'dark', programme: 'r1' },
  { name: 'programme-tv-zh-light', path: '/recordings', size: 'tv', lang: 'zh-CN', theme: 'light', programme: 'r1' },
  { name: 'programme-phone-zh-dark', path: '/recordings', size: 'phone', lang: 'zh-CN', theme: 'dark', programme: 'r1' },
  { name: 'login-pc-zh-dark', path: '/login', size: 'pc', lang: 'zh-CN', theme: 'dark', signedOut: true },
] as { name: string; path: string; size: keyof typeof sizes; lang: string; theme: string; empty?: boolean; fold?: boolean; record?: number; message?: number; signedOut?: boolean; press?: string[]; programme?: string }[])('$name', async (shot) => {
  const at = shot.empty === true ? quietBase : base;
  const context = await newContext(browser, { viewport: sizes[shot.size] });
  await context.addInitScript(({ lang, theme }) => {
    localStorage.setItem('linehall.language', lang);
    localStorage.setItem('linehall.theme', theme);
  }, shot);
  if (shot.signedOut !== true) await context.addCookies([session(at)]);
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' && !/401|422/.test(message.text()) && (shot.programme === undefined || !message.text().includes('404'))) errors.push(message.text());
  });
  await page.goto(at + shot.path);
  await page.waitForSelector(shot.signedOut === true ? '[data-testid=login-username]' : '[data-testid=feed-state][data-state=live]');
  if (shot.path === '/calls' || shot.path === '/lines') await page.waitForTimeout(8000);
  if (shot.fold === true) await page.getByRole('button', { expanded: false }).nth(1).click();
  if (shot.record !== undefined) {
    await page.getByTestId('record-row').nth(shot.record).click();
    await page.getByTestId('ladder').waitFor();
  }
  if (shot.programme !== undefined) {
    await page.locator(`[data-testid=programme-row][data-id=${shot.programme}]`).click();
    await page.getByTestId('programme-player').waitFor();
  }
  for (const id of shot.press ?? []) {
    await page.getByTestId(id).first().click();
    await page.waitForTimeout(400);
  }
  if (shot.message !== undefined) {
    await page.getByTestId('ladder-step').nth(shot.message).click();
    await page.getByTestId('ladder-message').scrollIntoViewIfNeeded();
  }
  await page.waitForTimeout(1300);
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
  await page.screenshot({ path: join(folder, `${shot.name}.png`) });
  expect(errors).toEqual([]);
  await context.close();
});
