import puppeteer, { type Browser, type Page } from 'puppeteer-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loopbackScript } from '../fixture/browser';
import { Fixture } from '../fixture/server';

const fixture = new Fixture();
const venues = [{ id: 'p1', venue: 'hq', zh: '主会场', en: 'Main venue', hue: 200 }];
let browser: Browser;
let page: Page;
let base = '';

beforeAll(async () => {
  base = await fixture.start();
  browser = await puppeteer.launch({
    browser: 'firefox', executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr', headless: true,
    extraPrefsFirefox: { 'media.navigator.streams.fake': true, 'media.navigator.permission.disabled': true, 'media.autoplay.default': 0, 'media.autoplay.blocking_policy': 0 },
  });
  page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 720 });
  await page.evaluateOnNewDocument(`globalThis.loopbackOptions = ${JSON.stringify({ venues })}; (() => { ${loopbackScript()} })();`);
});
afterAll(async () => {
  await browser.close();
  await fixture.stop();
});

const reach = (state: string): Promise<unknown> => page.waitForSelector(`[data-testid=room-state][data-state="${state}"]`, { timeout: 20_000 });
// Firefox counts no frames of a stream in getVideoPlaybackQuality: the decoder's own count is asked.
const frames = (): Promise<number> => page.evaluate(async () => (await window.__linehall.stats()).pictures[0]?.frames ?? 0);

async function flowing(): Promise<void> {
  const before = await frames().catch(() => 0);
  await expect.poll(frames, { timeout: 15_000 }).toBeGreaterThan(before + 5);
}

test('Firefox joins, publishes three layers in three m-lines, and comes back after a restart of the appliance', async () => {
  await page.goto(`${base}/room/9000#venue=branch1&token=good-token`);
  await reach('in-meeting');
  await flowing();
  const sdp = String(await page.evaluate("loopback.log.find((message) => message.type === 'publish').sdp"));
  expect(sdp.match(/^m=\w+/gm)).toEqual(['m=audio', 'm=video', 'm=video']);
  expect(sdp).toMatch(/a=simulcast:send l;m;h/);
  await page.evaluate('loopback.cut(true)');
  await reach('reconnecting');
  await page.evaluate('loopback.up(true)');
  await reach('in-meeting');
  await flowing();
});
