import { effect, untracked } from '@preact/signals';
import { texts } from '../../i18n';
import type { Conference } from '../../rtc/conference';
import type { ActRefusal } from '../../rtc/protocol';
import { say } from '../../ui/toast';

/** Says why something that this page asked for was refused. */
export function sayRefusals(conference: Conference): void {
  effect(() => {
    const refused = conference.refusal.value;
    if (refused === null) return;
    untracked(() => {
      const words = texts.value.meeting.refused;
      say(words[refused.code as ActRefusal] ?? words.bad_message, false);
    });
  });
}
