import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Backoff } from '../../src/rtc/backoff';
import { Channel, type Socket } from '../../src/rtc/channel';
import { parseServerMessage, type ServerMessage, type View } from '../../src/rtc/protocol';
import { sessionID } from '../../src/rtc/sdp';
import { type Encoding, encodingsFor, layersFor, obey, recode, taken } from '../../src/rtc/simulcast';
import { SlotMap } from '../../src/rtc/slots';
import { Meter } from '../../src/rtc/stats';
import { viewsOf, Wanter } from '../../src/rtc/want';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('backoff', () => {
  test('doubles up to its ceiling, never waits longer, and starts again after a reset', () => {
    const backoff = new Backoff(250, 5000, () => 1);
    expect(Array.from({ length: 7 }, () => backoff.next())).toEqual([250, 500, 1000, 2000, 4000, 5000, 5000]);
    backoff.reset();
    expect(backoff.next()).toBe(250);
  });

  test('shortens waits at random by at most half', () => {
    expect(new Backoff(250, 5000, () => 0).next()).toBe(125);
  });
});

describe('messages', () => {
  test.each([
    ['a known type', '{"type":"pong","id":3}', { type: 'pong', id: 3 }],
    ['an unknown type', '{"type":"weather"}', null],
    ['no object', '[1]', null],
    ['no JSON', '{', null],
    ['no type', '{"id":3}', null],
  ])('%s', (_, text, want) => {
    expect(parseServerMessage(text)).toEqual(want);
  });
});

describe('slots', () => {
  const slots = new SlotMap(
    [
      { mid: '3', participant: 'a', media: 'camera', rid: 'm', reason: '' },
      { mid: '4', participant: 'a', media: 'content', rid: '', reason: '' },
      { mid: '5', participant: '', media: 'camera', rid: '', reason: '' },
      { mid: '6', participant: 'b', media: 'camera', rid: '', reason: 'line' },
      { mid: '7', participant: 'a', media: 'camera', rid: 'l', reason: '' },
    ],
    [{ mid: '0', participant: 'b' }, { mid: '1', participant: '' }],
  );

  test('camera and content of one participant are different pictures', () => {
    expect(slots.picture('a', 'camera')).toEqual({ mid: '3', rid: 'm', reason: '' });
    expect(slots.picture('a', 'content')?.mid).toBe('4');
  });

  test('a picture that the line does not carry keeps its reason', () => {
    expect(slots.picture('b', 'camera')?.reason).toBe('line');
  });

  test('free slots belong to nobody', () => {
    expect(slots.picture('', 'camera')).toBeUndefined();
    expect([slots.voice('0'), slots.voice('1')]).toEqual(['b', undefined]);
  });
});

describe('want', () => {
  test('counts device pixels in steps and leaves out what is not visible', () => {
    const tiles = [
      { participant: 'b', media: 'camera' as const, height: 355 },
      { participant: 'a', media: 'camera' as const, height: 0 },
      { participant: 'c', media: 'content' as const, height: 890 },
    ];
    expect(viewsOf(tiles, 1)).toEqual([{ participant: 'b', media: 'camera', height: 360 }, { participant: 'c', media: 'content', height: 900 }]);
    expect(viewsOf(tiles, 2)[0]?.height).toBe(720);
  });

  test('names a picture that is shown twice once, at its taller size', () => {
    expect(viewsOf([{ participant: 'a', media: 'camera', height: 90 }, { participant: 'a', media: 'camera', height: 700 }], 1)).toEqual([{ participant: 'a', media: 'camera', height: 720 }]);
  });

  test('waits until the layout is quiet, says news only, and repeats itself to a new connection', () => {
    const sent: View[][] = [];
    const wanter = new Wanter((views) => sent.push(views) > 0, 150);
    const views = viewsOf([{ participant: 'a', media: 'camera', height: 360 }], 1);
    wanter.set([]);
    vi.advanceTimersByTime(100);
    wanter.set(views);
    vi.advanceTimersByTime(149);
    expect(sent).toEqual([]);
    vi.advanceTimersByTime(1);
    wanter.set([...views]);
    vi.advanceTimersByTime(500);
    expect(sent).toEqual([views]);
    wanter.again();
    expect(sent).toEqual([views, views]);
  });

  test('a list that could not be sent is sent later', () => {
    let up = false;
    const sent: View[][] = [];
    const wanter = new Wanter((views) => {
      if (up) sent.push(views);
      return up;
    }, 0);
    wanter.set(viewsOf([{ participant: 'a', media: 'camera', height: 360 }], 1));
    vi.runAllTimers();
    up = true;
    wanter.again();
    expect(sent).toHaveLength(1);
  });
});

describe('simulcast', () => {
  test.each([
    [720, [4, 2, 1], [true, true, true]],
    [360, [2, 1, 1], [true, true, false]],
    [180, [1, 1, 1], [true, false, false]],
  ])('captured height %d', (height, scales, active) => {
    const encodings = encodingsFor(height);
    obey(encodings, [], layersFor(height));
    expect(encodings.map((encoding) => encoding.scaleResolutionDownBy)).toEqual(scales);
    expect(encodings.map((encoding) => encoding.active)).toEqual(active);
    expect(encodings.map((encoding) => encoding.rid)).toEqual(['l', 'm', 'h']);
  });

  test('obeys commands, but never rests the lowest layer and never wakes one that the size cannot carry', () => {
    const encodings = encodingsFor(360);
    const commands = ['l', 'm', 'h'].map((rid) => ({ rid, active: rid === 'h', max_bitrate_bps: 100_000 }));
    expect(obey(encodings, commands, layersFor(360))).toBe(true);
    expect(encodings.map((encoding) => encoding.active)).toEqual([true, false, false]);
    expect(encodings.map((encoding) => encoding.maxBitrate)).toEqual([100_000, 100_000, 100_000]);
    expect(obey(encodings, commands, layersFor(360))).toBe(false);
  });

  test('VP9 has its resolutions in one stream, as far up as is wanted', () => {
    const encodings: Encoding[] = encodingsFor(720);
    const commands = ['l', 'm', 'h'].map((rid, index) => ({ rid, active: rid !== 'h', max_bitrate_bps: (index + 1) * 100_000 }));
    expect(obey(encodings, commands, 3, true)).toBe(true);
    expect(encodings.map((encoding) => encoding.active)).toEqual([true, false, false]);
    expect(encodings[0]).toMatchObject({ scalabilityMode: 'L2T3_KEY', scaleResolutionDownBy: 2, maxBitrate: 200_000 });
    expect(obey(encodings, commands, 3, true)).toBe(false);
    expect(obey(encodings, commands, 3)).toBe(true);
    expect(encodings[0]).toMatchObject({ scaleResolutionDownBy: 4, maxBitrate: 100_000 });
    expect(encodings[0]?.scalabilityMode).toBeUndefined();
  });

  test('a codec is set for all encodings, and VP8 only where another one was', () => {
    const codecs = ['video/VP8', 'video/VP9', 'video/rtx'].map((mimeType, index) => ({ mimeType, clockRate: 90_000, payloadType: 96 + index }));
    const parameters = { transactionId: '', headerExtensions: [], rtcp: {}, codecs, encodings: encodingsFor(720) };
    expect(recode(parameters, 'VP8')).toBe(false);
    expect(recode(parameters, 'AV1')).toBe(false);
    expect(recode(parameters, 'VP9')).toBe(true);
    expect(taken(parameters.encodings, 'VP9', false)).toBe(true);
    expect(taken(parameters.encodings, 'VP9', true)).toBe(false);
    expect(recode(parameters, 'VP9')).toBe(false);
    expect(recode(parameters, 'VP8')).toBe(true);
  });

  test('a ceiling of 0 leaves the ceiling as it is', () => {
    const encodings = encodingsFor(720);
    obey(encodings, [{ rid: 'h', active: true, max_bitrate_bps: 0 }], 3);
    expect(encodings[2]?.maxBitrate).toBe(1_700_000);
  });
});

test('an origin line tells one far end from another', () => {
  expect(sessionID('v=0\r\no=- 4611 2 IN IP4 0.0.0.0\r\ns=-\r\n')).toBe('4611');
  expect(sessionID(undefined)).toBe('');
});

describe('statistics', () => {
  test('rates are differences between two readings', () => {
    const meter = new Meter();
    const report = (bytes: number, packets: number, lost: number) => [
      { type: 'inbound-rtp', id: 'v', kind: 'video', mid: '3', bytesReceived: bytes, packetsReceived: packets, packetsLost: lost, jitter: 0.004, framesPerSecond: 24.7, framesDecoded: 10 },
      { type: 'candidate-pair', id: 'p', nominated: true, state: 'succeeded', currentRoundTripTime: 0.0123 },
    ];
    expect(meter.read(report(1000, 100, 0), 'subscribe', 1000).connection.bitrate_bps).toBe(0);
    expect(meter.read(report(126_000, 195, 5), 'subscribe', 2000).connection).toEqual({ rtt_ms: 12.3, loss_percent: 5, jitter_ms: 4, bitrate_bps: 1_000_000, frames_per_second: 25 });
  });
});

class FakeSocket implements Socket {
  readyState = 0;
  onopen: ((event: Event) => unknown) | null = null;
  onmessage: ((event: MessageEvent) => unknown) | null = null;
  onclose: ((event: CloseEvent) => unknown) | null = null;
  sent: string[] = [];
  send(text: string): void {
    this.sent.push(text);
  }
  close(): void {
    this.readyState = 3;
  }
  up(): void {
    this.readyState = 1;
    this.onopen?.({} as Event);
  }
  says(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) } as MessageEvent);
  }
  breaks(): void {
    this.readyState = 3;
    this.onclose?.({} as CloseEvent);
  }
}

describe('signalling channel', () => {
  function make(): { channel: Channel; sockets: FakeSocket[]; got: ServerMessage[]; losses: number[] } {
    const sockets: FakeSocket[] = [];
    const got: ServerMessage[] = [];
    const losses: number[] = [];
    const channel = new Channel(
      'wss://appliance/signal',
      {
        opened: () => undefined,
        received: (message) => {
          got.push(message);
        },
        lost: (attempt) => {
          losses.push(attempt);
        },
      },
      () => {
        const socket = new FakeSocket();
        sockets.push(socket);
        return socket;
      },
      new Backoff(250, 5000, () => 1),
    );
    return { channel, sockets, got, losses };
  }

  test('comes back after a break, later each time', () => {
    const { channel, sockets, losses } = make();
    channel.start();
    sockets[0]?.up();
    sockets[0]?.breaks();
    vi.advanceTimersByTime(249);
    expect(sockets).toHaveLength(1);
    vi.advanceTimersByTime(1);
    sockets[1]?.breaks();
    vi.advanceTimersByTime(500);
    expect(sockets).toHaveLength(3);
    expect(losses).toEqual([1, 2]);
    channel.stop();
  });

  test('gives a silent connection up', () => {
    const { channel, sockets, losses } = make();
    channel.start();
    sockets[0]?.up();
    vi.advanceTimersByTime(12_000);
    expect(losses).toEqual([1]);
    expect(sockets[0]?.readyState).toBe(3);
    channel.stop();
  });

  test('pongs keep a connection and are nobody\'s business', () => {
    const { channel, sockets, got, losses } = make();
    channel.start();
    sockets[0]?.up();
    for (let i = 0; i < 10; i++) {
      vi.advanceTimersByTime(3000);
      sockets[0]?.says({ type: 'pong', id: i });
    }
    sockets[0]?.says({ type: 'speaking', participants: [] });
    expect(losses).toEqual([]);
    expect(got).toEqual([{ type: 'speaking', participants: [] }]);
    channel.stop();
  });

  test('a network that is back is tried at once', () => {
    const { channel, sockets } = make();
    channel.start();
    sockets[0]?.breaks();
    channel.kick();
    expect(sockets).toHaveLength(2);
    channel.stop();
    vi.advanceTimersByTime(60_000);
    expect(sockets).toHaveLength(2);
  });
});
