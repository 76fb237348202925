// Drives one real browser per venue and reports what each sees and hears. Input: a JSON file
//   {"artifacts": DIR, "seconds": N, "venues": [{"id", "url", "browser": "chromium"|"firefox", "rgb": [r,g,b], "tone": HZ, "netns": ""}]}
// Commands come as JSON lines on standard input, answers go out as JSON lines:
//   {"do": "observe"}            frames, colours and tones of every venue's page over `seconds`
//   {"do": "chair", "venue": ID}    opens the chair page beside the venue's own (Chromium); "chairless" closes it
//   {"do": "press", "venue": ID, "selector": CSS, "chair": BOOL}, {"do": "look", ... the same}: the element's data, or null
//   {"do": "type", ..., "text": T, "chair": true} writes into a field and presses Enter
//   {"do": "codecs"}                 what each venue's camera sends and what its pictures are decoded from
//   {"do": "voices", "venue": ID}   how many voices of others are heard during a second
//   {"do": "play", "venue": ID, "password": P}   signs in as admin at the console and plays the newest recorded meeting to the end of its parts
//   {"do": "leave", "venue": ID} / {"do": "rejoin", "venue": ID} / {"do": "states"} / {"do": "screenshot", "venue": ID, "file": F} / {"do": "end"}
import { createRequire } from 'node:module';
import { mkdirSync, readFileSync, writeFileSync, chmodSync } from 'node:fs';
import { join } from 'node:path';
import readline from 'node:readline';

const require = createRequire(new URL('../../web/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const puppeteer = require('puppeteer-core');

const plan = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const size = { width: plan.width ?? 320, height: plan.height ?? 180, rate: 10 };

// A camera that shows one colour, as uncompressed YUV 4:2:0 frames.
function writeCamera(file, [r, g, b]) {
  const clamp = (v) => Math.max(0, Math.min(255, Math.round(v)));
  const y = clamp(16 + 0.257 * r + 0.504 * g + 0.098 * b);
  const u = clamp(128 - 0.148 * r - 0.291 * g + 0.439 * b);
  const v = clamp(128 + 0.439 * r - 0.368 * g - 0.071 * b);
  const parts = [Buffer.from(`YUV4MPEG2 W${size.width} H${size.height} F${size.rate}:1 Ip A1:1 C420jpeg\n`)];
  for (let n = 0; n < 20; n++) {
    const luma = Buffer.alloc(size.width * size.height, y);
    // A bar that walks, so that frames differ and encoders have something to do.
    for (let row = 0; row < 12; row++) luma.fill(clamp(y * 0.6), row * size.width + n * 16, row * size.width + n * 16 + 16);
    parts.push(Buffer.from('FRAME\n'), luma, Buffer.alloc((size.width * size.height) / 4, u), Buffer.alloc((size.width * size.height) / 4, v));
  }
  writeFileSync(file, Buffer.concat(parts));
}

// A microphone that speaks one tone in syllables, so that no noise suppression takes it for a fan.
function writeMicrophone(file, tone) {
  const rate = 48000;
  const samples = new Int16Array(rate * 4);
  for (let i = 0; i < samples.length; i++) {
    const syllable = Math.floor(i / (rate * 0.18)) % 3 !== 2;
    const phase = (2 * Math.PI * tone * i) / rate;
    samples[i] = syllable ? 9000 * (Math.sin(phase) + 0.25 * Math.sin(2 * phase)) : 0;
  }
  const header = Buffer.alloc(44);
  header.write('RIFF', 0); header.writeUInt32LE(36 + samples.byteLength, 4); header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16); header.writeUInt16LE(1, 20); header.writeUInt16LE(1, 22); header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate * 2, 28); header.writeUInt16LE(2, 32); header.writeUInt16LE(16, 34); header.write('data', 36);
  header.writeUInt32LE(samples.byteLength, 40);
  writeFileSync(file, Buffer.concat([header, Buffer.from(samples.buffer)]));
}

// Firefox cannot be given a camera file: its page gets a canvas as camera; its fake microphone is a tone by itself.
function fakeCamera({ rgb, size }) {
  const devices = navigator.mediaDevices;
  const original = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (constraints) => {
    const stream = constraints.audio ? await original({ audio: constraints.audio }) : new MediaStream();
    if (constraints.video) {
      const canvas = document.createElement('canvas');
      canvas.width = size.width; canvas.height = size.height;
      const drawing = canvas.getContext('2d');
      let n = 0;
      setInterval(() => {
        drawing.fillStyle = `rgb(${rgb.join(',')})`;
        drawing.fillRect(0, 0, canvas.width, canvas.height);
        drawing.fillStyle = 'rgba(0,0,0,0.4)';
        drawing.fillRect((n++ % 20) * 16, 0, 16, 12);
      }, 1000 / size.rate);
      stream.addTrack(canvas.captureStream().getVideoTracks()[0]); // each drawing is a frame
    }
    return stream;
  };
}

// Runs inside the page: what is decoded over `seconds`, which colours are shown at their end, and what is heard after them
// (a sound graph costs as much as a picture, so it does not run while frames are counted).
async function observe(seconds) {
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const decoded = async () => {
    const { pictures } = await window.__linehall.stats();
    const venues = new Map(window.__linehall.participants.map((participant) => [participant.id, participant.venue]));
    return new Map(pictures.filter((picture) => picture.media === 'camera').map((picture) => [venues.get(picture.participant), picture]));
  };
  const voicesOf = (stats) => new Map((stats.subscribe?.streams ?? []).filter((stream) => stream.kind === 'audio').map((stream) => [stream.mid, stream.audio_energy]));
  const quiet = voicesOf(await window.__linehall.stats());
  const before = await decoded();
  const begin = performance.now();
  await wait(seconds * 1000);
  const after = await decoded();
  const took = (performance.now() - begin) / 1000;
  // Where the machine has no loudspeaker, Firefox starts no sound graph of ours: it still decodes and measures what it would play.
  const voices = [...voicesOf(await window.__linehall.stats())].filter(([mid, energy]) => energy - (quiet.get(mid) ?? 0) > 1e-5).length;

  const seen = {};
  for (const tile of document.querySelectorAll('[data-testid="room-tile"]')) {
    const venue = tile.dataset.venue;
    const video = tile.querySelector('video');
    const frames = ((after.get(venue)?.frames ?? 0) - (before.get(venue)?.frames ?? 0)) / took;
    if (!venue) continue;
    seen[venue] = { rate: frames, rgb: [0, 0, 0], width: video?.videoWidth ?? 0, height: video?.videoHeight ?? 0 };
    if (!video?.videoWidth) continue;
    const canvas = document.createElement('canvas');
    canvas.width = 32; canvas.height = 18;
    const drawing = canvas.getContext('2d', { willReadFrequently: true });
    drawing.drawImage(video, 0, 0, 32, 18);
    const pixels = drawing.getImageData(8, 6, 16, 10).data;
    const sum = [0, 0, 0];
    for (let i = 0; i < pixels.length; i += 4) { sum[0] += pixels[i]; sum[1] += pixels[i + 1]; sum[2] += pixels[i + 2]; }
    seen[venue].rgb = sum.map((v) => Math.round(v / (pixels.length / 4)));
  }

  const audio = new AudioContext();
  await Promise.race([audio.resume(), wait(1500)]);
  const analysers = [...document.querySelectorAll('audio')].filter((a) => a.srcObject?.getAudioTracks().length).map((element) => {
    const analyser = audio.createAnalyser();
    analyser.fftSize = 8192;
    analyser.smoothingTimeConstant = 0;
    audio.createMediaStreamSource(new MediaStream(element.srcObject.getAudioTracks())).connect(analyser);
    return analyser;
  });
  const loudest = new Float32Array(4096).fill(-200); // the loudest moment of each frequency
  for (let n = 0; n < 16; n++) {
    await wait(250);
    for (const analyser of analysers) {
      const bins = new Float32Array(analyser.frequencyBinCount);
      analyser.getFloatFrequencyData(bins);
      bins.forEach((level, i) => { if (level > loudest[i]) loudest[i] = level; });
    }
  }
  const tones = {};
  for (let hz = 500; hz <= 1750; hz += 250) tones[hz] = loudest[Math.round((hz * 8192) / audio.sampleRate)];
  const graph = audio.state === 'running';
  void audio.close();
  return { seen, tones, voices, graph };
}

// Runs inside the page: how many sound tracks carried sound for a second. Energy is counted before the loudspeaker.
async function voicesHeard() {
  const read = async () => new Map(((await window.__linehall.stats()).subscribe?.streams ?? []).filter((stream) => stream.kind === 'audio').map((stream) => [stream.mid, stream.audio_energy]));
  const before = await read();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return [...(await read())].filter(([mid, energy]) => energy - (before.get(mid) ?? 0) > 1e-5).length;
}

// Runs inside the page: the codec, the frames so far and the size of each active stream of the camera, and of each picture of others.
async function codecs() {
  const { publish, pictures } = await window.__linehall.stats();
  const venues = new Map(window.__linehall.participants.map((participant) => [participant.id, participant.venue]));
  const short = ({ codec, scalability, frames, height, rid }) => ({ codec, scalability, frames, height, rid });
  const sent = (publish?.streams ?? []).filter((stream) => stream.kind === 'video' && stream.codec !== '' && stream.frames > 0).map(short);
  return { sent, shown: Object.fromEntries(pictures.filter((picture) => picture.media === 'camera').map((picture) => [venues.get(picture.participant), short(picture)])) };
}

const look = (selector) => {
  const element = document.querySelector(selector);
  return element === null ? null : { ...element.dataset, text: element.textContent };
};
const press = (selector) => {
  const element = document.querySelector(selector);
  if (element === null || element.disabled) return false;
  element.click();
  return true;
};

const state = () => document.querySelector('[data-testid="room-state"]')?.dataset.state ?? '';
const pages = new Map();
const contexts = new Map();
const chairs = new Map();
const browsers = [];

// A browser inside a network namespace is started through a wrapper script.
function executable(path, venue) {
  if (!venue.netns) return path;
  const wrapper = join(plan.artifacts, `${venue.id}-browser`);
  writeFileSync(wrapper, `#!/bin/sh\nexec ip netns exec ${venue.netns} ${path} "$@"\n`);
  chmodSync(wrapper, 0o755);
  return wrapper;
}

async function open(venue) {
  const url = new URL(venue.url);
  url.searchParams.set('video', `${size.width}x${size.height}@${size.rate}`);
  url.searchParams.set('lang', 'en');
  if (venue.browser === 'firefox') {
    const browser = await puppeteer.launch({
      browser: 'firefox', executablePath: executable('/usr/bin/firefox-esr', venue), headless: true, acceptInsecureCerts: true, protocol: 'webDriverBiDi', userDataDir: join(plan.artifacts, `${venue.id}-profile`),
      extraPrefsFirefox: { 'media.navigator.streams.fake': true, 'media.navigator.permission.disabled': true, 'media.autoplay.default': 0, 'media.autoplay.blocking_policy': 0, 'media.autoplay.block-webaudio': false, 'media.navigator.audio.fake_frequency': venue.tone },
    });
    browsers.push(() => browser.close());
    const page = await browser.newPage();
    await page.setViewport({ width: size.width * 1.5, height: size.height * 1.5 });
    await page.evaluateOnNewDocument(fakeCamera, { rgb: venue.rgb, size });
    await page.goto(url.href);
    pages.set(venue.id, { evaluate: (f, a) => page.evaluate(f, a), screenshot: (path) => page.screenshot({ path }), click: (id) => page.click(`[data-testid="${id}"]`) });
    return;
  }
  const camera = join(plan.artifacts, `${venue.id}.y4m`), microphone = join(plan.artifacts, `${venue.id}.wav`);
  writeCamera(camera, venue.rgb);
  writeMicrophone(microphone, venue.tone);
  const browser = await chromium.launch({
    executablePath: executable('/usr/bin/chromium', venue), headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
      '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', `--use-file-for-fake-video-capture=${camera}`, `--use-file-for-fake-audio-capture=${microphone}`,
      '--autoplay-policy=no-user-gesture-required', '--disable-dev-shm-usage', '--audio-buffer-size=2048'],
  });
  browsers.push(() => browser.close());
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: size.width * 1.5, height: size.height * 1.5 } });
  contexts.set(venue.id, context);
  const page = await context.newPage();
  page.on('pageerror', (error) => process.stderr.write(`${venue.id}: page error: ${error}\n`));
  page.on('console', (message) => { if (message.type() === 'error') process.stderr.write(`${venue.id}: ${message.text()}\n`); });
  await page.goto(url.href);
  pages.set(venue.id, { evaluate: (f, a) => page.evaluate(f, a), screenshot: (path) => page.screenshot({ path }), click: (id) => page.click(`[data-testid="${id}"]`) });
}

async function each(run) {
  const out = {};
  await Promise.all([...pages].map(async ([id, page]) => { out[id] = await run(page, id); }));
  return out;
}

async function openChair(venue) {
  const page = await contexts.get(venue).newPage();
  await page.setViewportSize({ width: 1280, height: 720 });
  page.on('pageerror', (error) => process.stderr.write(`${venue}: chair page error: ${error}\n`));
  const url = new URL(plan.venues.find((candidate) => candidate.id === venue).url);
  await page.goto(`${url.origin}${url.pathname.replace('/room/', '/chair/')}?lang=en`);
  chairs.set(venue, page);
}

// Plays the newest recorded meeting: what each part shows, and that the player goes on from one to the next.
async function play(venue, password) {
  const page = await contexts.get(venue).newPage();
  await page.setViewportSize({ width: 1280, height: 720 });
  page.on('pageerror', (error) => process.stderr.write(`${venue}: console error: ${error}\n`));
  const { origin } = new URL(plan.venues.find((candidate) => candidate.id === venue).url);
  await page.goto(`${origin}/login`);
  await page.fill('[data-testid=login-username]', 'admin');
  await page.fill('[data-testid=login-password]', password);
  await page.press('[data-testid=login-password]', 'Enter');
  await page.waitForSelector('[data-testid=console]');
  await page.click('[data-testid=nav-recordings]');
  await page.locator('[data-testid=programme-row]').first().click();
  await page.waitForSelector('[data-testid=programme-player]');
  const parts = Number(await page.locator('[data-testid=programme-facts]').getAttribute('data-parts'));
  await page.click('[data-testid=programme-play]');
  const shown = [];
  for (let part = 0; part < parts; part++) {
    await page.waitForFunction((n) => {
      const video = document.querySelector('[data-testid=programme-video]');
      const sound = document.querySelector('[data-testid=programme-sound]');
      return document.querySelector('[data-testid=programme-player]').dataset.part === String(n) && (video === null || (video.currentTime > 0.5 && video.videoWidth > 0)) && sound.currentTime > 0.3;
    }, part + 1, { timeout: 20000 });
    shown.push(await page.evaluate(() => {
      const video = document.querySelector('[data-testid=programme-video]');
      return { width: video?.videoWidth ?? 0, seconds: video?.duration ?? 0, sound: document.querySelector('[data-testid=programme-sound]').duration };
    }));
    // Not the whole of it: a moment before its end is enough to see that the next one follows.
    if (part + 1 < parts) {
      await page.evaluate(() => {
        for (const element of document.querySelectorAll('[data-testid=programme-video], [data-testid=programme-sound]')) element.currentTime = element.duration - 0.4;
      });
    }
  }
  await page.close();
  return { parts, shown };
}

const pageOf = (command) => (command.chair ? chairs : pages).get(command.venue);

async function act(command) {
  switch (command.do) {
    case 'states': return each((page) => page.evaluate(state));
    case 'codecs': return each((page) => page.evaluate(codecs));
    case 'observe': return each((page) => page.evaluate(observe, plan.seconds));
    case 'chair': await openChair(command.venue); return {};
    case 'play': return play(command.venue, command.password);
    case 'chairless': await chairs.get(command.venue).close(); return {};
    case 'look': return pageOf(command).evaluate(look, command.selector);
    case 'press': return pageOf(command).evaluate(press, command.selector);
    case 'type': await pageOf(command).fill(command.selector, command.text); await pageOf(command).press(command.selector, 'Enter'); return {};
    case 'voices': return pages.get(command.venue).evaluate(voicesHeard);
    case 'leave': await pages.get(command.venue).click('room-leave'); return {};
    case 'rejoin': await pages.get(command.venue).click('room-join'); return {};
    case 'screenshot': await pages.get(command.venue).screenshot(command.file); return {};
    case 'end': for (const close of browsers) await close().catch(() => {}); return {};
    default: throw new Error(`unknown command ${command.do}`);
  }
}

mkdirSync(plan.artifacts, { recursive: true });
// Chromium's own temporary profile goes there as well, so that whoever finds a left-over browser knows whose it is.
process.env.TMPDIR = plan.artifacts;
process.on('SIGTERM', async () => { for (const close of browsers) await close().catch(() => {}); process.exit(1); });
for (const venue of plan.venues) await open(venue);
console.log(JSON.stringify({ opened: true }));
for await (const line of readline.createInterface({ input: process.stdin })) {
  if (!line.trim()) continue;
  const command = JSON.parse(line);
  try {
    console.log(JSON.stringify({ answer: await act(command) }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error?.stack ?? error) }));
  }
  if (command.do === 'end') process.exit(0);
}
