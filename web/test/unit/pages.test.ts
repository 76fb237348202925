import { describe, expect, test } from 'vitest';
import type { Cdr, LineClass, LineDirection, Terminal } from '../../src/api/types';
import { filterTerminals, stateOf } from '../../src/features/terminals/filter';
import { gaugeKinds, gaugeParts, lineWord, usedBps } from '../../src/features/lines/gauge';
import { filterRecords } from '../../src/features/records/filter';
import { kindOf, ladderOf } from '../../src/features/records/ladder';
import { star } from '../../src/features/overview/star';
import { en } from '../../src/i18n/en';
import { zh } from '../../src/i18n/zh';
import { captureOf, readAddress } from '../../src/room/address';
import { nearest } from '../../src/ui/arrows';
import { gridOf } from '../../src/room/layout';
import { arrange, programmeOf } from '../../src/features/meeting/layout';
import type { Meeting, Participant } from '../../src/rtc/protocol';
import { windowOf } from '../../src/ui/rows';
import { sparkPath } from '../../src/ui/spark';

function direction(capacity: number, uses: Partial<Record<LineClass, [number, number]>>): LineDirection {
  const classes = Object.entries(uses).map(([name, [reserved, measured]]) => ({ class: name as LineClass, reserved_bps: reserved, measured_bps: measured }));
  return { capacity_bps: capacity, office_reserve_bps: capacity * 0.15, conference_floor_bps: 0, reserved_bps: 0, measured_bps: 0, free_bps: 0, estimated_bps: 0, loss_percent: 0, below_contract: 'no', below_since: null, classes };
}

describe('gauge', () => {
  test('stacks in the order of importance; office reserve and free come last; the widths fill the bar', () => {
    const parts = gaugeParts(direction(2_000_000, { video: [600_000, 500_000], voice: [174_000, 171_000], emergency: [87_000, 80_000] }));
    expect(parts.map((part) => part.kind)).toEqual(['emergency', 'voice', 'video', 'office', 'free']);
    expect(parts.reduce((sum, part) => sum + part.width, 0)).toBeCloseTo(1);
    expect(parts.find((part) => part.kind === 'voice')?.width).toBeCloseTo(0.087);
    expect(parts.find((part) => part.kind === 'video')?.solid).toBeCloseTo(5 / 6);
  });

  test('what is measured beyond its reservation is drawn as wide as it is', () => {
    const bulk = gaugeParts(direction(1_000_000, { bulk: [0, 200_000] })).find((part) => part.kind === 'bulk');
    expect([bulk?.width, bulk?.solid]).toEqual([0.2, 1]);
  });

  test('a line over its capacity is drawn full, without free space', () => {
    const parts = gaugeParts(direction(1_000_000, { voice: [1_200_000, 1_200_000] }));
    expect(parts.map((part) => part.kind)).toEqual(['voice', 'office']);
    expect(parts.reduce((sum, part) => sum + part.width, 0)).toBeCloseTo(1);
  });

  test('a line without classes is free', () => {
    expect(gaugeParts({ ...direction(1_000_000, {}), classes: null }).map((part) => part.kind)).toEqual(['office', 'free']);
  });

  test('counts the larger of reserved and measured as used', () => {
    expect(usedBps(direction(1_000_000, { voice: [100_000, 120_000], video: [300_000, 200_000] }))).toBe(420_000);
  });
});

describe('line words', () => {
  const quiet = direction(2_000_000, { voice: [174_000, 170_000] });
  test.each([
    ['good', { up: quiet, down: quiet }],
    ['tight: pictures take the rest', { up: quiet, down: direction(2_000_000, { video: [1_600_000, 1_500_000] }) }],
    ['tight: many calls', { up: direction(2_000_000, { voice: [1_100_000, 1_000_000] }), down: quiet }],
    ['congested: calls fill it', { up: direction(2_000_000, { voice: [1_566_000, 1_500_000] }), down: quiet }],
    ['none: no line', { up: direction(0, {}), down: direction(0, {}) }],
  ])('%s', (name, line) => {
    expect(lineWord(line)).toBe(name.split(':')[0]);
  });
});

describe('texts', () => {
  function leaves(value: unknown, path: string): [string, unknown][] {
    if (typeof value === 'object' && value !== null) return Object.entries(value).flatMap(([name, inner]) => leaves(inner, path === '' ? name : `${path}.${name}`));
    return [[path, value]];
  }
  const chinese = new Map(leaves(zh, ''));
  const english = new Map(leaves(en, ''));

  test('both languages have the same texts, none empty', () => {
    expect([...english.keys()].sort()).toEqual([...chinese.keys()].sort());
    for (const text of [...chinese.values(), ...english.values()]) expect(text).not.toBe('');
  });

  test('English has no Chinese in it, Chinese uses full-width punctuation', () => {
    for (const [path, text] of english) if (typeof text === 'string' && path !== 'language.other') expect(text, path).not.toMatch(/\p{Script=Han}/u);
    for (const [path, text] of chinese) if (typeof text === 'string') expect(text, path).not.toMatch(/\p{Script=Han}[,;:?!]/u);
  });

  test('every kind of the gauge has a name', () => {
    for (const kind of gaugeKinds) expect([zh.line.classes[kind], en.line.classes[kind]]).not.toContain(undefined);
  });
});

describe('star map', () => {
  const rem = 16;
  const size = (width: number, height: number) => ({ width, height, cardWidth: 12 * rem, cardHeight: 5.75 * rem, hub: 3.5 * rem, gap: 4, thickness: 12, readable: 11 * rem });

  test.each([[1200, 760], [700, 430], [900, 300]])('every card stays inside a box of %d x %d', (width, height) => {
    for (let count = 1; count <= 8; count++) {
      for (const spoke of star(count, size(width, height)).spokes) {
        expect(spoke.x - 6 * rem).toBeGreaterThanOrEqual(-0.01);
        expect(spoke.x + 6 * rem).toBeLessThanOrEqual(width + 0.01);
        expect(spoke.y - 2.875 * rem).toBeGreaterThanOrEqual(-0.01);
        expect(spoke.y + 2.875 * rem).toBeLessThanOrEqual(height + 0.01);
      }
    }
  });

  test('the first branch is on top of headquarters when there is room', () => {
    const map = star(5, size(1200, 760));
    expect(map.spokes[0]?.x).toBeCloseTo(map.hubX);
    expect(map.spokes[0]?.angle).toBeCloseTo(-90);
    expect(new Set(map.spokes.map((spoke) => Math.round(spoke.length))).size).toBe(1);
  });
});

describe('terminals', () => {
  const terminal = (extension: string, change: Partial<Terminal>): Terminal => ({
    extension, display_name: '', site: 'hq', mac: '', model: '', template: '', state: 'active', notes: '', registered: true, since: null, address: null, transport: null, user_agent: null,
    expires_at: null, bindings: 0, seen_site: null, in_call: false, provisioned_at: null, ...change,
  });
  const rows = [
    terminal('8010', { display_name: '张伟', user_agent: 'Yealink SIP-T54W' }),
    terminal('2001', { site: 'branch1', registered: false }),
    terminal('8002', { in_call: true, address: '127.0.0.12:5060' }),
    terminal('8070', { state: 'spare', registered: false }),
  ];
  const extensions = (filter: Parameters<typeof filterTerminals>[1]): string[] => filterTerminals(rows, filter).map((row) => row.extension);

  test.each([
    ['all, by extension', { text: '', site: '', state: '' }, ['2001', '8002', '8010', '8070']],
    ['by name', { text: '张', site: '', state: '' }, ['8010']],
    ['all words must fit', { text: 'yealink 8010', site: '', state: '' }, ['8010']],
    ['by address', { text: '0.12:', site: '', state: '' }, ['8002']],
    ['by site', { text: '', site: 'branch1', state: '' }, ['2001']],
    ['a phone in a call is registered', { text: '', site: '', state: 'registered' }, ['8002', '8010']],
    ['not registered leaves spare rows out', { text: '', site: '', state: 'unregistered' }, ['2001']],
  ] as const)('%s', (_, filter, want) => {
    expect(extensions(filter)).toEqual(want);
  });

  test('a disabled row says so whatever its phone does', () => {
    expect(stateOf(terminal('8001', { state: 'disabled', registered: true }))).toBe('disabled');
  });
});

describe('room address', () => {
  test('reads the venue and the token from the fragment only', () => {
    expect(readAddress(new URL('https://h/room/9000?video=320x180@10#venue=branch1&token=abc'))).toEqual({
      number: '9000', link: { venue: 'branch1', token: 'abc' }, video: { width: 320, height: 180, frameRate: 10 }, kiosk: false,
    });
    expect(readAddress(new URL('https://h/room/9000?venue=branch1&token=abc')).link).toBeNull();
    expect(readAddress(new URL('https://h/room/9000?kiosk')).kiosk).toBe(true);
  });

  test.each([[null, 1280], ['640x360', 640], ['nonsense', 1280]])('capture %s', (text, width) => {
    expect(captureOf(text).width).toBe(width);
  });
});

describe('grid', () => {
  test.each([[1, 1], [2, 2], [3, 2], [4, 2], [5, 3], [6, 3], [7, 3], [9, 3]])('%d tiles on a TV', (count, columns) => {
    const grid = gridOf(count, 1890, 890, 8);
    expect(grid.columns).toBe(columns);
    expect(grid.columns * grid.width + 8 * (grid.columns - 1)).toBeLessThanOrEqual(1890);
    expect(grid.rows * grid.height + 8 * (grid.rows - 1)).toBeLessThanOrEqual(890);
  });
});

test('arrows go to what lies nearest in their direction', () => {
  const rect = (left: number, top: number) => ({ left, top, width: 10, height: 10 }) as DOMRect;
  const targets = [rect(0, 100), rect(50, 100), rect(200, 100), rect(60, 0)];
  const from = rect(50, 100);
  expect([nearest(from, targets, 'ArrowLeft'), nearest(from, targets, 'ArrowRight'), nearest(from, targets, 'ArrowUp'), nearest(from, targets, 'ArrowDown')]).toEqual([0, 2, 3, -1]);
});

describe('ladder', () => {
  const step = (party: number, received: boolean, ms: number, summary = 'BYE') => ({ at: new Date(1000 + ms).toISOString(), party, received, summary, repeated: false, text: '' });
  const party = (name: string) => ({ name, address: '127.0.0.1:5060', transport: 'UDP' });

  test('the caller stands left of the appliance, everybody else right; arrows go as the messages went', () => {
    const { lanes, rungs } = ladderOf({ id: 'c', parties: [party('8001'), party('8002'), party('')], steps: [step(0, true, 0), step(1, false, 12), step(2, true, 40)] }, 'Linehall');
    expect(lanes.map((lane) => lane.name)).toEqual(['8001', 'Linehall', '8002', '127.0.0.1:5060']);
    expect(rungs.map((rung) => [rung.from, rung.to, rung.after])).toEqual([[0, 1, 0], [1, 2, 12], [3, 1, 40]]);
  });

  test('nothing kept, one end only, a step of nobody', () => {
    expect(ladderOf({ id: 'c', parties: [], steps: [] }, 'L').rungs).toEqual([]);
    expect(ladderOf({ id: 'c', parties: [party('8001')], steps: [step(0, false, 0), step(7, true, 0)] }, 'L').rungs.map((rung) => [rung.from, rung.to])).toEqual([[1, 0]]);
  });

  test.each([['INVITE 2001 [sdp]', 'request'], ['180 Ringing (INVITE)', 'provisional'], ['200 OK (BYE)', 'success'], ['486 Busy Here (INVITE)', 'failure']])('%s is a %s', (summary, kind) => {
    expect(kindOf(summary)).toBe(kind);
  });
});

test('records are found by number, site and reason', () => {
  const one = { id: 'a', call_id: 'x@y', from: '8001', to: '2001', dialled: '2001', from_site: 'hq', to_site: 'branch1', trunk: '', reason: '', result: 'answered' } as Cdr;
  const other: Cdr = { ...one, id: 'b', to: '3001', dialled: '3001', to_site: 'branch2', reason: '专线已满', result: 'refused' };
  const ids = (text: string, result: '' | 'refused' = ''): string[] => filterRecords([one, other], { text, result }, (id) => (id === 'branch1' ? '林东' : id)).map((r) => r.id);
  expect([ids(''), ids('8001 林东'), ids('已满'), ids('', 'refused'), ids('2001', 'refused')]).toEqual([['a', 'b'], ['a'], ['b'], ['b'], []]);
});

test('a long table makes only the rows around the view', () => {
  expect(windowOf(10_000, 48, 4800, 480, 8)).toEqual({ first: 92, last: 118, before: 4416, after: (10_000 - 118) * 48 });
  expect(windowOf(3, 48, 0, 480)).toEqual({ first: 0, last: 3, before: 0, after: 0 });
});

test('a spark line keeps to its box', () => {
  expect(sparkPath([1, 9, 3], 100, 20, 1, 5)).toBe('M0.0 20.0L50.0 0.0L100.0 10.0');
  expect(sparkPath([1], 100, 20, 1, 5)).toBe('');
});

describe('the order of the meeting on the screen', () => {
  const seat = (member: string): Participant => ({
    id: `p-${member}`, venue: member, name: { zh: member, en: member }, site: member, kind: 'browser', audio_muted: false, video_muted: false, has_audio: true, has_video: true, has_content: false,
    joined_at: '', member, chair_muted: false, camera_off: false,
  });
  const others = ['hq', 'a', 'b'].map(seat);
  const order = (fields: Partial<Meeting>, you: Partial<Meeting['you']> = {}): Meeting => ({
    type: 'meeting', id: 'm', title: '', started_at: '', ends_at: null, chair: 'hq', chair_name: null, chair_present: true, on_air: '', floor: '', view: '', requests: [], mute_all: false, may_unmute: false, content_locked: false,
    presenter: '', locked: false, waiting_room: false, layout: '', forced: false, banner: '', caption: '', poll: null, roll: null, recording: null, venues: [], ...fields,
    you: { member: 'c', chair: false, may_chair: false, may_revoke: false, chair_pin: false, waiting: [], calls: [], ...you },
  });
  const shape = (...parameters: Parameters<typeof arrange>): string => {
    const { main, others: rest } = arrange(...parameters);
    return `${main?.member ?? '-'}|${rest.map((participant) => participant.member).join(' ')}`;
  };

  test('nobody on air: all alike, or who spoke last large', () => {
    expect(shape(others, order({}), '', 'p-a')).toBe('-|hq a b');
    expect(shape(others, order({}), 'speaker', 'p-a')).toBe('a|hq b');
    expect(shape(others, order({}), 'single', '')).toBe('hq|');
    expect(shape([], order({}), 'speaker', '')).toBe('-|');
  });
  test('the venue on air is large, except where it is itself', () => {
    expect(shape(others, order({ on_air: 'b' }), '', 'p-a')).toBe('b|hq a');
    expect(shape(others, order({ on_air: 'b' }), 'pip', 'p-a')).toBe('b|');
    expect(shape(others, order({ on_air: 'b' }), 'grid', 'p-a')).toBe('-|hq a b');
    expect(shape(others, order({ on_air: 'c' }), '', 'p-a')).toBe('hq|a b');
    expect(shape(others, order({ on_air: 'gone' }), '', 'p-a')).toBe('-|hq a b');
  });
  test('in a lecture the audience sees the speaker, the speaker everybody', () => {
    expect(shape(others, order({ on_air: 'b' }), 'lecture', '')).toBe('b|');
    expect(shape(others, order({ on_air: 'c' }), 'lecture', '')).toBe('-|hq a b');
  });
  test('the chair sees whom it views', () => {
    expect(programmeOf(others, order({ on_air: 'b', view: 'a' }, { chair: true }))?.member).toBe('a');
    expect(programmeOf(others, order({ on_air: 'b', view: 'a' }))?.member).toBe('b');
  });
});
