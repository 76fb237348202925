import type { Layers } from './protocol';
import { sessionID } from './sdp';
import { encodingsFor, layersFor, obey, recode, taken } from './simulcast';

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
  private readonly refused = new Set<string>();
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
    await this.carryOutCamera(layers);
    if (layers.content === null) return;
    await this.carryOutContent(layers.content, layers.codec ?? 'VP8');
  }

  /** A codec that the browser does not take is not asked for again: the camera goes on in VP8, which every browser has. */
  private async carryOutCamera(layers: Layers): Promise<void> {
    const sender = this.camera.sender;
    const wish = layers.codec ?? 'VP8';
    for (const name of this.refused.has(wish) ? ['VP8'] : [wish, 'VP8']) {
      const parameters = sender.getParameters();
      const one = name === 'VP9' && parameters.codecs.some((codec) => codec.mimeType === 'video/VP9');
      const recoded = recode(parameters, name);
      if (!obey(parameters.encodings, layers.camera ?? [], this.usable, one) && !recoded) return;
      const done = await sender.setParameters(parameters).then(() => true, () => false);
      if (done && taken(sender.getParameters().encodings, name, one)) return;
      this.refused.add(name);
    }
  }

  private async carryOutContent(command: NonNullable<Layers['content']>, codec: string): Promise<void> {
    const content = this.content.sender.getParameters();
    const only = content.encodings[0];
    if (only === undefined) return;
    const ceiling = command.max_bitrate_bps > 0 ? command.max_bitrate_bps : only.maxBitrate;
    const recoded = recode(content, this.refused.has(codec) ? 'VP8' : codec);
    if (!recoded && only.active === command.active && only.maxBitrate === ceiling) return;
    only.active = command.active;
    if (ceiling !== undefined) only.maxBitrate = ceiling;
    await this.content.sender.setParameters(content);
  }
}
