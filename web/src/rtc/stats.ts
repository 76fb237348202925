import type { ConnectionStats } from './protocol';

/** The few fields of getStats() that are read; browsers differ in the rest. */
interface Report {
  type: string;
  id: string;
  kind?: string;
  mid?: string;
  rid?: string;
  codecId?: string;
  mimeType?: string;
  scalabilityMode?: string;
  bytesSent?: number;
  bytesReceived?: number;
  packetsReceived?: number;
  packetsLost?: number;
  fractionLost?: number;
  jitter?: number;
  roundTripTime?: number;
  currentRoundTripTime?: number;
  nominated?: boolean;
  state?: string;
  framesPerSecond?: number;
  framesEncoded?: number;
  framesDecoded?: number;
  frameWidth?: number;
  frameHeight?: number;
  audioLevel?: number;
  totalAudioEnergy?: number;
}

export interface StreamStats {
  mid: string;
  rid: string;
  kind: string;
  /** Name in SDP; empty before the first packet. */
  codec: string;
  scalability: string;
  bytes: number;
  frames: number;
  width: number;
  height: number;
  frames_per_second: number;
  audio_level: number;
  audio_energy: number;
}

export interface Sample {
  connection: ConnectionStats;
  streams: StreamStats[];
}

const round = (value: number, digits: number): number => Math.round(value * 10 ** digits) / 10 ** digits;

/** Turns successive statistics of one connection into rates. */
export class Meter {
  private bytes = 0;
  private received = 0;
  private lost = 0;
  private at = 0;

  read(reports: Iterable<unknown>, direction: 'publish' | 'subscribe', now: number): Sample {
    const all = [...reports] as Report[];
    const rtp = all.filter((report) => report.type === (direction === 'publish' ? 'outbound-rtp' : 'inbound-rtp'));
    const remote = all.filter((report) => report.type === 'remote-inbound-rtp');
    const pair = all.find((report) => report.type === 'candidate-pair' && report.nominated === true && report.state === 'succeeded');
    const bytes = sum(rtp, (report) => report.bytesSent ?? report.bytesReceived);
    const elapsed = (now - this.at) / 1000;
    const bitrate = this.at === 0 || elapsed <= 0 ? 0 : Math.max(0, ((bytes - this.bytes) * 8) / elapsed);
    this.bytes = bytes;
    this.at = now;
    const jitters = (direction === 'publish' ? remote : rtp).map((report) => report.jitter ?? 0);
    return {
      connection: {
        rtt_ms: round((pair?.currentRoundTripTime ?? remote[0]?.roundTripTime ?? 0) * 1000, 1),
        loss_percent: round(direction === 'publish' ? this.lossSent(remote) : this.lossReceived(rtp), 2),
        jitter_ms: round(Math.max(0, ...jitters) * 1000, 1),
        bitrate_bps: Math.round(bitrate),
        frames_per_second: Math.round(Math.max(0, ...rtp.map((report) => report.framesPerSecond ?? 0))),
      },
      streams: rtp.map((report) => streamOf(report, all.find((candidate) => candidate.type === 'codec' && candidate.id === report.codecId))),
    };
  }

  private lossSent(remote: Report[]): number {
    return Math.max(0, ...remote.map((report) => report.fractionLost ?? 0)) * 100;
  }

  private lossReceived(rtp: Report[]): number {
    const received = sum(rtp, (report) => report.packetsReceived);
    const lost = sum(rtp, (report) => report.packetsLost);
    const came = received - this.received;
    const missed = lost - this.lost;
    this.received = received;
    this.lost = lost;
    return missed > 0 && came + missed > 0 ? (missed / (came + missed)) * 100 : 0;
  }
}

function sum(reports: Report[], value: (report: Report) => number | undefined): number {
  return reports.reduce((total, report) => total + (value(report) ?? 0), 0);
}

function streamOf(report: Report, codec: Report | undefined): StreamStats {
  return {
    mid: report.mid ?? '',
    rid: report.rid ?? '',
    kind: report.kind ?? '',
    codec: codec?.mimeType?.split('/')[1] ?? '',
    scalability: report.scalabilityMode ?? '',
    bytes: report.bytesSent ?? report.bytesReceived ?? 0,
    frames: report.framesEncoded ?? report.framesDecoded ?? 0,
    width: report.frameWidth ?? 0,
    height: report.frameHeight ?? 0,
    frames_per_second: report.framesPerSecond ?? 0,
    audio_level: report.audioLevel ?? 0,
    audio_energy: report.totalAudioEnergy ?? 0,
  };
}
