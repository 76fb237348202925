import { sessionID } from './sdp';

export interface SubscriberHandlers {
  candidate(candidate: RTCIceCandidateInit): void;
  connection(state: RTCPeerConnectionState): void;
}

/** The receiving peer connection. Its m-lines are slots: `track(mid)` stays the same while its owner changes. */
export class Subscriber {
  readonly pc: RTCPeerConnection;
  private readonly streams = new Map<string, MediaStream>();

  constructor(handlers: SubscriberHandlers, configuration: RTCConfiguration = {}) {
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle', ...configuration });
    this.pc.onicecandidate = (event) => {
      if (event.candidate !== null && event.candidate.candidate !== '') handlers.candidate(event.candidate.toJSON());
    };
    this.pc.onconnectionstatechange = () => {
      handlers.connection(this.pc.connectionState);
    };
  }

  /** True if the offer continues this connection (an ICE restart, not another far end). */
  continues(sdp: string): boolean {
    const before = this.pc.currentRemoteDescription;
    return before === null || sessionID(before.sdp) === sessionID(sdp);
  }

  async accept(sdp: string): Promise<string> {
    await this.pc.setRemoteDescription({ type: 'offer', sdp });
    for (const transceiver of this.pc.getTransceivers()) {
      const mid = transceiver.mid;
      if (mid !== null && !this.streams.has(mid)) this.streams.set(mid, new MediaStream([transceiver.receiver.track]));
    }
    const answer = await this.pc.createAnswer();
    await this.pc.setLocalDescription(answer);
    return this.pc.localDescription?.sdp ?? answer.sdp ?? '';
  }

  stream(mid: string): MediaStream | undefined {
    return this.streams.get(mid);
  }

  /** The streams of the voices, one per audio m-line; silent ones included. */
  voices(): MediaStream[] {
    return [...this.streams.values()].filter((stream) => stream.getAudioTracks().length > 0);
  }

  close(): void {
    this.pc.onicecandidate = null;
    this.pc.onconnectionstatechange = null;
    this.pc.close();
  }
}
