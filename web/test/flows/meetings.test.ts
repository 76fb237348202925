import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serious } from '../fixture/axe';
import { newContext, openBrowser, session } from '../fixture/browser';
import { Fixture } from '../fixture/server';

const fixture = new Fixture();
let browser: Browser;
let base = '';
let context: BrowserContext;
let page: Page;

beforeAll(async () => {
  [browser, base] = await Promise.all([openBrowser(), fixture.start()]);
  context = await newContext(browser, { viewport: { width: 1280, height: 720 } });
  await context.addCookies([session(base)]);
  page = await context.newPage();
  await page.goto(`${base}/meetings`);
  await page.getByTestId('meetings-week').waitFor();
});
afterAll(async () => {
  await browser.close();
  await fixture.stop();
});

test('a meeting is planned by keyboard alone, its mistakes said at their fields', async () => {
  await page.getByTestId('meetings-add').focus();
  await page.keyboard.press('Enter');
  await page.getByTestId('plan-form').waitFor();
  await page.getByTestId('plan-pin').focus();
  await page.keyboard.type('12');
  await page.keyboard.press('Enter');
  await expect.poll(() => page.getByTestId('plan-error-title').textContent()).toContain('请填写');
  await expect.poll(() => page.getByTestId('plan-error-pin').textContent()).toContain('格式不对');
  expect(await page.evaluate(() => document.activeElement?.id)).toBe('plan-title');
  expect(await serious(page)).toEqual([]);
  await page.keyboard.type('防汛会商');
  await page.getByTestId('plan-pin').fill('13579');
  await page.getByTestId('plan-time').fill('16:15');
  await page.getByTestId('plan-day-2').focus();
  await page.keyboard.press('Space');
  await page.getByTestId('plan-save').focus();
  await page.keyboard.press('Enter');
  await expect.poll(() => page.getByTestId('plan-form').count()).toBe(0);
  const made = fixture.plans.list.find((one) => one.title === '防汛会商');
  expect(made).toMatchObject({ room: '9000', time: '16:15', weekdays: [2], has_pin: true, auto_end: true });
});

test('one day of a series is struck out, and a series is cancelled by pressing twice', async () => {
  await page.getByTestId('meetings-later').click();
  const cards = page.locator('[data-testid=meeting-card][data-id=m1]');
  await expect.poll(() => cards.count()).toBe(2);
  await cards.first().click();
  await page.getByTestId('meeting-skip').click();
  await expect.poll(() => cards.count()).toBe(1);
  await cards.first().click();
  expect(await serious(page)).toEqual([]);
  await page.getByTestId('meeting-cancel').click();
  await page.getByTestId('meeting-cancel').click();
  await expect.poll(() => cards.count()).toBe(0);
  expect(fixture.plans.list.find((one) => one.id === 'm1')?.cancelled).toBe(true);
});

test('attendance, calendars and the list have no serious findings of axe', async () => {
  await page.getByTestId('meetings-view-held').click();
  await expect.poll(() => page.getByTestId('attendance').locator('tr').count()).toBe(7);
  expect(await page.locator('[data-member=branch4]').getAttribute('data-absent')).toBe('true');
  expect(await serious(page)).toEqual([]);
  await page.getByTestId('meetings-view-list').click();
  expect(await serious(page)).toEqual([]);
  await page.getByTestId('meetings-calendar').click();
  await page.getByTestId('calendar-make').click();
  await expect.poll(() => page.getByTestId('calendar-url').inputValue()).toContain('/meetings.ics');
  await expect.poll(() => page.getByTestId('calendar-feed').count()).toBe(1);
});
