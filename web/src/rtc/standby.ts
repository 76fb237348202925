import { signal } from '@preact/signals-core';
import { Channel, type Socket } from './channel';
import type { StandbyMessage } from './protocol';

export interface StandbyOptions {
  url: string;
  client: string;
  dial: (url: string, protocol: string) => Socket;
}

/** A page that waits to be called: it is told what goes on and what comes, takes no part and sends nothing. */
export class Standby {
  /** null while there is no connection, or none that was accepted. */
  readonly told = signal<StandbyMessage | null>(null);
  private readonly channel: Channel;

  constructor(private readonly options: StandbyOptions) {
    this.channel = new Channel(options.url, {
      opened: () => {
        this.channel.send({ type: 'join', client: this.options.client, standby: true });
      },
      received: (message) => {
        if (message.type === 'standby') {
          this.channel.settled();
          this.told.value = message;
        } else if (message.type === 'ended' && message.reason !== 'shutdown') this.stop();
      },
      lost: () => {
        this.told.value = null;
      },
    }, options.dial);
  }

  start(): void {
    this.channel.start();
  }

  stop(): void {
    this.channel.stop();
    this.told.value = null;
  }

  decline(): void {
    this.channel.send({ type: 'decline' });
  }
}
