/** Days are written 2026-12-01 and counted in UTC, so that no clock change comes between. */
export const parse = (day: string): number => Date.parse(`${day}T00:00:00Z`);
const write = (at: number): string => new Date(at).toISOString().slice(0, 10);

export const addDays = (day: string, n: number): string => write(parse(day) + n * 86_400_000);

/** 1 = Monday to 7 = Sunday. */
export const weekday = (day: string): number => (new Date(parse(day)).getUTCDay() + 6) % 7 + 1;

export const mondayOf = (day: string): string => addDays(day, 1 - weekday(day));

export const weekOf = (monday: string): string[] => Array.from({ length: 7 }, (_, index) => addDays(monday, index));

/** Which day it is by the organisation's clocks. */
export const dayIn = (zone: string, at: Date): string => new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' }).format(at);

/** Days that somebody has listed by hand. */
export const listed = (text: string): string[] => text.split(/[\s,，、;；]+/).filter((one) => one !== '');
