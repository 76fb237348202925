import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { newContext, openBrowser, session } from '../fixture/browser';
import { Fixture, password } from '../fixture/server';

const fixture = new Fixture();
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
  fixture.failures = 0;
  context = await newContext(browser, { viewport: { width: 1280, height: 720 }, permissions: ['clipboard-read', 'clipboard-write'] });
  page = await context.newPage();
});
afterEach(() => context.close());

const signIn = async (path: string): Promise<void> => {
  await context.addCookies([session(base)]);
  await page.goto(base + path);
  await page.waitForSelector('[data-testid=feed-state][data-state=live]');
};

async function submit(name: string, secret: string): Promise<void> {
  await page.getByTestId('login-username').fill(name);
  await page.getByTestId('login-password').fill(secret);
  await page.getByTestId('login-submit').click();
}

test('signing in leads to the page that was wanted', async () => {
  await page.goto(`${base}/terminals`);
  await page.waitForURL('**/login?next=%2Fterminals');
  await submit('admin', password);
  await page.getByTestId('terminals-table').waitFor();
  expect(new URL(page.url()).pathname).toBe('/terminals');
});

test('wrong passwords are said in words, and so is the lock-out', async () => {
  await page.goto(`${base}/login`);
  const problem = page.getByTestId('login-error');
  await submit('admin', '');
  await expect.poll(() => problem.textContent()).toContain('请输入用户名和密码');
  for (let i = 0; i < 4; i++) {
    await submit('admin', 'wrong');
    await expect.poll(() => problem.textContent()).toContain('用户名或密码不对');
  }
  await submit('admin', password);
  await expect.poll(() => problem.textContent()).toMatch(/锁定.*2 分钟|锁定.*1 分钟/);
});

test('terminals are found as one types, by keyboard alone', async () => {
  await signIn('/terminals');
  await page.keyboard.press('/');
  await page.keyboard.type('4004');
  await expect.poll(() => page.getByTestId('terminals-count').textContent()).toContain('1 / 120');
  await page.getByTestId('terminal-row-4004').focus();
  await page.keyboard.press('Enter');
  await page.getByTestId('terminal-details').waitFor();
  await page.keyboard.press('Escape');
  await expect.poll(() => page.getByTestId('terminal-details').count()).toBe(0);
  await page.getByTestId('terminals-search').fill('');
  await page.getByTestId('terminals-state').selectOption('unregistered');
  await expect.poll(() => page.getByTestId('terminals-count').textContent()).toContain('2 / 120');
});

test('rows far down are reached with the End key', async () => {
  await signIn('/terminals');
  await page.getByTestId('terminal-row-2001').focus();
  await page.keyboard.press('End');
  await page.getByTestId('terminal-row-8070').waitFor();
  await expect.poll(() => page.evaluate(() => document.activeElement?.getAttribute('data-testid'))).toBe('terminal-row-8070');
});

test('a call is hung up by pressing twice', async () => {
  await signIn('/calls');
  const row = page.getByTestId('calls-table').getByTestId('call-row').nth(2);
  const id = await row.getAttribute('data-id');
  const button = page.locator(`[data-id="${id ?? ''}"]`).getByTestId('call-hangup');
  await button.click();
  expect(fixture.hungUp).toEqual([]);
  await button.click();
  await expect.poll(() => fixture.hungUp).toEqual([id]);
});

test('a call that ended opens to its messages', async () => {
  await signIn('/records');
  await page.getByTestId('records-result').selectOption('refused');
  await expect.poll(() => page.getByTestId('record-row').evaluateAll((rows) => rows.every((row) => row.dataset.result === 'refused'))).toBe(true);
  await page.getByTestId('records-result').selectOption('');
  await page.getByTestId('record-row').first().focus();
  await page.keyboard.press('Enter');
  const step = page.getByTestId('ladder-step').nth(3);
  await step.click();
  const text = await page.getByTestId('ladder-message').textContent();
  expect(text).toContain('INVITE');
  expect(text).toContain('response="****"');
  expect(await page.getByTestId('call-capture').getAttribute('href')).toMatch(/^\/api\/v1\/calls\/\w+\/pcap$/);
  await page.keyboard.press('Escape');
  await expect.poll(() => page.getByTestId('call-details').count()).toBe(0);
});

test('a venue\'s link lands on the clipboard', async () => {
  await signIn('/rooms');
  await page.getByTestId('venue-9000-branch1').getByTestId('venue-copy-link').click();
  await page.getByTestId('toast').waitFor();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toContain('/room/9000#venue=branch1&token=');
});

test('a feed that breaks is shown as old, and comes back by itself', async () => {
  await signIn('/');
  await page.evaluate('1');
  await context.setOffline(true);
  fixture.cutFeed();
  await page.getByTestId('stale').waitFor();
  await context.setOffline(false);
  await page.waitForSelector('[data-testid=feed-state][data-state=live]');
  await expect.poll(() => page.getByTestId('stale').count()).toBe(0);
});

test('language and colours switch without a reload and stay', async () => {
  await signIn('/');
  await page.getByTestId('language-switch').click();
  await expect.poll(() => page.locator('h1').textContent()).toBe('Overview');
  const before = await page.evaluate(() => document.documentElement.dataset.theme);
  await page.getByTestId('theme-switch').click();
  await page.reload();
  await page.waitForSelector('[data-testid=feed-state][data-state=live]');
  expect(await page.locator('h1').textContent()).toBe('Overview');
  expect(await page.evaluate(() => document.documentElement.dataset.theme)).not.toBe(before);
});

test('every page is reached from the navigation, and there are no dead links', async () => {
  await signIn('/');
  for (const name of ['terminals', 'calls', 'records', 'lines', 'rooms', 'overview']) {
    await page.getByTestId(`nav-${name}`).click();
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    const links = await page.locator('a[href^="/"]').evaluateAll((found) => [...new Set(found.map((link) => new URL((link as HTMLAnchorElement).href).pathname))]);
    for (const link of links) expect(link).toMatch(/^\/(terminals|calls|records|lines|rooms|room\/\d+)?$/);
  }
});
