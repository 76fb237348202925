/** The values that alarm texts may name, already in the language of the text; empty where the alarm does not say. */
export interface AlarmWords {
  site: string;
  direction: string;
  count: string;
  name: string;
  until: string;
}
