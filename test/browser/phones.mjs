// Drives phones in a browser: one page of Chromium for each, with JsSIP (a client that is not ours) over SIP on WSS. Input: a JSON file
//   {"origin": "https://127.0.0.1:8443", "jssip": FILE, "phones": [{"id", "uri", "user", "password", "tone"}]}
// A phone speaks a tone of so many Hz. It keeps a muted audio element for what it hears, and listens to that itself.
// Commands come as JSON lines on standard input, answers go out as JSON lines:
//   {"do": "register"|"unregister", "phone": ID}
//   {"do": "call", "phone": ID, "target": URI}   waits until the call is confirmed or has failed
//   {"do": "heard", "phone": ID}                 RTP packets received over the last second of the call
//   {"do": "gruu", "phone": ID}                  the GRUUs that its registration got
//   {"do": "hears", "phone": ID, "target": HZ}    waits up to 20 s until that tone is most of what it hears; its share
//   {"do": "hearsAt", "phone": ID, "target": HZ}   when (ms since 1970) a tenth of a second of what it hears is that tone; waits up to 20 s
//   {"do": "hearsDigit", "phone": ID, "target": [HZ, HZ]}   the same with both tones of a digit (Q.23), for as short as they last
//   {"do": "digit", "phone": ID, "target": DIGIT} presses a key, as an event of RFC 4733
//   {"do": "hold"|"unhold"|"restart", "phone": ID}  a re-INVITE; restart: of ICE
//   {"do": "refer", "phone": ID, "target": URI}   transfers the other party, and hangs up when that has worked
//   {"do": "session", "phone": ID}                waits for a call that came in; codec and state of ICE
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
    connection_recovery_min_interval: 1, connection_recovery_max_interval: 2,
  });
  const state = { session: null, ended: null };
  const context = new AudioContext();
  const voice = context.createMediaStreamDestination();
  const oscillator = new OscillatorNode(context, { frequency: phone.tone });
  oscillator.connect(new GainNode(context, { gain: 0.3 })).connect(voice);
  oscillator.start();
  const media = { mediaStream: voice.stream };
  const ear = new AnalyserNode(context, { fftSize: 32768 });
  const player = Object.assign(document.body.appendChild(document.createElement('audio')), { autoplay: true, muted: true });
  let source;
  // listen follows the track that the call has now; one that is replaced would fall silent.
  function listen() {
    const track = state.session.connection.getReceivers().find((r) => r.track.kind === 'audio')?.track;
    if (!track || track === source?.track) return;
    source?.node.disconnect();
    const stream = new MediaStream([track]);
    player.srcObject = stream;
    source = { track, node: context.createMediaStreamSource(stream) };
    source.node.connect(ear);
  }
  // share is how much of the last samples that one tone is: 1 is that tone alone.
  function share(frequency, count) {
    const all = new Float32Array(ear.fftSize);
    ear.getFloatTimeDomainData(all);
    const samples = all.subarray(all.length - count);
    const coefficient = 2 * Math.cos((2 * Math.PI * frequency) / context.sampleRate);
    let s1 = 0, s2 = 0, energy = 0;
    for (const x of samples) {
      [s1, s2] = [x + coefficient * s1 - s2, s1];
      energy += x * x;
    }
    return energy === 0 ? 0 : (s1 * s1 + s2 * s2 - coefficient * s1 * s2) / ((energy * samples.length) / 2);
  }
  ua.on('newRTCSession', ({ session }) => {
    state.session = session;
    session.on('confirmed', listen); // what nobody plays piles up
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
    async hears(frequency) {
      let got = 0;
      for (const end = Date.now() + 20000; Date.now() < end && got < 0.8; await wait(100)) {
        listen();
        got = share(frequency, 24000);
      }
      return { share: got };
    },
    async hearsAt(frequency) {
      for (const end = Date.now() + 20000; Date.now() < end; await wait(20)) {
        listen();
        if (share(frequency, context.sampleRate / 10) > 0.8) return { at: Date.now() };
      }
      return { at: 0 };
    },
    async hearsDigit(frequencies) {
      let got = 0;
      for (const end = Date.now() + 20000; Date.now() < end && got < 0.7; await wait(10)) {
        listen();
        got = frequencies.reduce((sum, f) => sum + share(f, 2400), 0);
      }
      return { share: got };
    },
    digit(key) { state.session.sendDTMF(key, { duration: 200, transportType: 'RFC2833' }); return {}; },
    hold() { return new Promise((resolve) => state.session.hold({}, () => resolve({}))); },
    unhold() { return new Promise((resolve) => state.session.unhold({}, () => resolve({}))); },
    restart() { return new Promise((resolve) => state.session.renegotiate({ rtcOfferConstraints: { iceRestart: true } }, () => resolve({}))); },
    refer(target) {
      const session = state.session;
      return new Promise((resolve) => session.refer(target, { eventHandlers: {
        accepted: () => { session.terminate(); resolve({ accepted: true }); },
        failed: (e) => resolve({ failed: e.message?.status_code ?? 0 }),
        requestFailed: (e) => resolve({ failed: e.cause }),
      } }));
    },
    async session() {
      for (const end = Date.now() + 10000; Date.now() < end && !state.session?.isEstablished(); await wait(50));
      let stats, inbound;
      for (const end = Date.now() + 10000; Date.now() < end && !inbound?.codecId; await wait(50)) {
        stats = [...(await state.session.connection.getStats()).values()];
        inbound = stats.find((r) => r.type === 'inbound-rtp');
      }
      return { established: state.session.isEstablished(), ice: state.session.connection.iceConnectionState, codec: stats.find((r) => r.id === inbound?.codecId)?.mimeType ?? '' };
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
