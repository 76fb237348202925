// Drives phones in a browser: one page of Chromium for each, with JsSIP (a client that is not ours) over SIP on WSS. Input: a JSON file
//   {"origin": "https://127.0.0.1:8443", "jssip": FILE, "phones": [{"id", "uri", "user", "password"}]}
// Commands come as JSON lines on standard input, answers go out as JSON lines:
//   {"do": "register"|"unregister", "phone": ID}
//   {"do": "call", "phone": ID, "target": URI}   waits until the call is confirmed or has failed
//   {"do": "heard", "phone": ID}                 RTP packets received over the last second of the call
//   {"do": "gruu", "phone": ID}                  the GRUUs that its registration got
//   {"do": "hangup", "phone": ID} / {"do": "ended", "phone": ID} / {"do": "reload", "phone": ID} / {"do": "end"}
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import readline from 'node:readline';

const require = createRequire(new URL('../../web/package.json', import.meta.url));
const { chromium } = require('playwright-core');

const plan = JSON.parse(readFileSync(process.argv[2], 'utf8'));

// Runs inside the page. Calls that come in are answered after they rang.
function install({ origin, phone }) {
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const ua = new window.JsSIP.UA({
    sockets: [new window.JsSIP.WebSocketInterface(origin.replace('https', 'wss') + '/sip')],
    uri: phone.uri, authorization_user: phone.user, password: phone.password, register: false, session_timers: false,
  });
  const state = { session: null, ended: null };
  const media = { mediaConstraints: { audio: true, video: false } };
  ua.on('newRTCSession', ({ session }) => {
    state.session = session;
    state.ended = new Promise((resolve) => {
      session.on('ended', (e) => resolve({ ended: e.cause }));
      session.on('failed', (e) => resolve({ failed: e.cause, code: e.message?.status_code ?? 0 }));
    });
    if (session.direction === 'incoming') setTimeout(() => session.answer(media), 300);
  });
  const once = (good, bad) => new Promise((resolve, reject) => {
    ua.once(good, (e) => resolve({ status: e.response?.status_code ?? 0, contact: e.response?.getHeader('Contact') ?? '', require: e.response?.getHeader('Require') ?? '' }));
    ua.once(bad, (e) => reject(new Error(`${e.cause} ${e.response?.status_code ?? ''}`)));
  });
  const connected = new Promise((resolve) => ua.once('connected', () => resolve()));
  ua.start();
  window.phone = {
    register() { const done = once('registered', 'registrationFailed'); ua.register(); return done; },
    unregister() { const done = once('unregistered', 'registrationFailed'); ua.unregister(); return done; },
    call(target) {
      return new Promise((resolve) => ua.call(target, {
        ...media,
        eventHandlers: {
          confirmed: () => resolve({ confirmed: true }),
          failed: (e) => resolve({ failed: e.cause, code: e.message?.status_code ?? 0, warning: e.message?.getHeader?.('Warning') ?? '' }),
        },
      }));
    },
    gruu() { return { public: ua.contact.pub_gruu ?? '', temporary: ua.contact.temp_gruu ?? '' }; },
    async heard() {
      const packets = async () => {
        let n = 0;
        for (const r of (await state.session.connection.getStats()).values()) if (r.type === 'inbound-rtp') n += r.packetsReceived;
        return n;
      };
      for (let i = 0; i < 50 && (await packets()) === 0; i++) await wait(100);
      const before = await packets();
      await wait(1000);
      return { packets: (await packets()) - before };
    },
    hangup() { state.session.terminate(); return state.ended; },
    ended() { return state.ended; },
  };
  return connected;
}

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium', headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', '--autoplay-policy=no-user-gesture-required', '--disable-dev-shm-usage'],
});
// The console's own page forbids foreign scripts; what is tested is its origin.
const context = await browser.newContext({ ignoreHTTPSErrors: true, bypassCSP: true });
const pages = new Map();

async function open(phone) {
  const page = pages.get(phone.id) ?? (await context.newPage());
  pages.set(phone.id, page);
  page.removeAllListeners('pageerror');
  page.on('pageerror', (error) => process.stderr.write(`${phone.id}: page error: ${error}\n`));
  await page.goto(plan.origin + '/');
  await page.addScriptTag({ path: plan.jssip });
  await page.evaluate(install, { origin: plan.origin, phone });
}

for (const phone of plan.phones) await open(phone);
const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');
say({ ready: true });

for await (const line of readline.createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.do === 'end') break;
  try {
    if (command.do === 'reload') {
      await open(plan.phones.find((p) => p.id === command.phone));
      say({ answer: {} });
      continue;
    }
    const answer = await pages.get(command.phone).evaluate(([name, target]) => window.phone[name](target), [command.do, command.target]);
    say({ answer });
  } catch (error) {
    say({ error: String(error) });
  }
}
await browser.close();
process.exit(0);
