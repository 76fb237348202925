import type { Layers } from './protocol';
import { sessionID } from './sdp';
import { encodingsFor, layersFor, obey } from './simulcast';

export interface PublisherHandlers {
  candidate(candidate: RTCIceCandidateInit): void;
  connection(state: RTCPeerConnectionState): void;
}

/** The sending peer connection: microphone, camera (simulcast), content, in three m-lines that stay for its life. */
export class Publisher {
  readonly pc: RTCPeerConnection;
  private readonly audio: RTCRtpTransceiver;
  private readonly camera: RTCRtpTransceiver;
  private readonly content: RTCRtpTransceiver;
  private readonly usable: number;
  private commands: Layers = { camera: null, content: null };
  private work: Promise<void> = Promise.resolve();

  constructor(stream: MediaStream, handlers: PublisherHandlers, configuration: RTCConfiguration = {}) {
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle', ...configuration });
    const picture = stream.getVideoTracks()[0];
    const height = picture?.getSettings().height ?? 720;
    this.usable = layersFor(height);
    this.audio = this.pc.addTransceiver(stream.getAudioTracks()[0] ?? 'audio', { direction: 'sendonly', streams: [stream] });
    this.camera = this.pc.addTransceiver(picture ?? 'video', {
      direction: 'sendonly',
      streams: [stream],
      sendEncodings: encodingsFor(height),
    });
    this.content = this.pc.addTransceiver('video', { direction: 'sendonly', sendEncodings: [{ maxBitrate: 1_500_000 }] });
    this.pc.onicecandidate = (event) => {
      if (event.candidate !== null && event.candidate.candidate !== '') handlers.candidate(event.candidate.toJSON());
    };
    this.pc.onconnectionstatechange = () => {
      handlers.connection(this.pc.connectionState);
    };
  }

  async offer(iceRestart = false): Promise<string> {
    const offer = await this.pc.createOffer({ iceRestart });
    await this.pc.setLocalDescription(offer);
    return this.pc.localDescription?.sdp ?? offer.sdp ?? '';
  }

  /** False if the answer comes from another connection than the one that answered first: this one is of no use any more. */
  async answer(sdp: string): Promise<boolean> {
    if (this.pc.signalingState !== 'have-local-offer') return true;
    const before = this.pc.currentRemoteDescription;
    if (before !== null && sessionID(before.sdp) !== sessionID(sdp)) return false;
    await this.pc.setRemoteDescription({ type: 'answer', sdp });
    this.apply(this.commands);
    return true;
  }

  async replaceTracks(audio: MediaStreamTrack | null, video: MediaStreamTrack | null): Promise<void> {
    if (this.audio.sender.track !== audio) await this.audio.sender.replaceTrack(audio);
    if (this.camera.sender.track !== video) await this.camera.sender.replaceTrack(video);
  }

  async replaceContent(track: MediaStreamTrack | null): Promise<void> {
    await this.content.sender.replaceTrack(track);
  }

  /** Carries out a `layers` command; commands run one after the other because setParameters allows no overlap. */
  apply(layers: Layers): void {
    this.commands = layers;
    if (this.pc.signalingState !== 'stable' || this.pc.currentRemoteDescription === null) return;
    this.work = this.work.then(() => this.carryOut(layers)).catch(() => undefined);
  }

  close(): void {
    this.pc.onicecandidate = null;
    this.pc.onconnectionstatechange = null;
    this.pc.close();
  }

  private async carryOut(layers: Layers): Promise<void> {
    if (this.pc.signalingState === 'closed') return;
    const camera = this.camera.sender.getParameters();
    if (obey(camera.encodings, layers.camera ?? [], this.usable)) await this.camera.sender.setParameters(camera);
    const content = this.content.sender.getParameters();
    const only = content.encodings[0];
    if (layers.content === null || only === undefined) return;
    const ceiling = layers.content.max_bitrate_bps > 0 ? layers.content.max_bitrate_bps : only.maxBitrate;
    if (only.active === layers.content.active && only.maxBitrate === ceiling) return;
    only.active = layers.content.active;
    if (ceiling !== undefined) only.maxBitrate = ceiling;
    await this.content.sender.setParameters(content);
  }
}
