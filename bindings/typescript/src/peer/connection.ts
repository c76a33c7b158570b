/** One generation of the connection to one peer: its fixed layout, its description, its life until it is closed. */
import { CHANNEL_ID, Control, LABEL, type SendState } from "./control.js";
import type { PeerConfiguration, PeerConnectionClass, PeerConnectionLike, TrackLike, TransceiverLike } from "./dom.js";
import type { RtcPeerState, RtcStart } from "../generated/index.js";

/** The lines of every connection, in their order; `video` is the camera. */
export const LINES = ["audio", "video", "screen"] as const;
export type Line = (typeof LINES)[number];

/** What is sent on each line. */
export type LocalTracks = Readonly<Partial<Record<Line, TrackLike>>>;

export interface ConnectionHandlers {
  /** Something that the sidecar should know at once. */
  changed(): void;
  /** What the peer says that it sends. */
  remoteState(state: SendState): void;
}

export interface ConnectionReport {
  state: RtcPeerState;
  rttMs?: number;
  loss?: number;
  silentMs?: number;
}

export interface ConnectionOptions {
  /** How long candidates are waited for. */
  gatherMs: number;
  now: () => number;
}

export class Connection {
  /** Told to the sidecar as connected, and taken. */
  established = false;
  private readonly pc: PeerConnectionLike;
  private readonly control: Control;
  private transceivers: TransceiverLike[] = [];
  private heardAt: number;
  private bytes = 0;
  private loss: number | undefined;
  private failed = false;
  private over = false;

  constructor(
    readonly start: RtcStart,
    make: PeerConnectionClass,
    certificates: unknown[],
    private readonly options: ConnectionOptions,
    handlers: ConnectionHandlers,
  ) {
    const configuration: PeerConfiguration = {
      iceServers: start.iceServers,
      iceTransportPolicy: start.policy,
      bundlePolicy: "max-bundle",
    };
    if (certificates.length > 0) configuration.certificates = certificates;
    this.pc = new make(configuration as never);
    this.heardAt = options.now();
    this.pc.onconnectionstatechange = () => handlers.changed();
    const channel = this.pc.createDataChannel(LABEL, { negotiated: true, id: CHANNEL_ID });
    this.control = new Control(channel, options.now, {
      opened: () => handlers.changed(),
      closed: () => handlers.changed(),
      heard: () => this.hear(),
      state: (state) => handlers.remoteState(state),
    });
  }

  /** The offer with its candidates; undefined if the connection was closed meanwhile. */
  async offer(tracks: LocalTracks): Promise<string | undefined> {
    for (const line of LINES) {
      this.pc.addTransceiver(line === "audio" ? "audio" : "video", { direction: "sendrecv" });
    }
    await this.send(tracks);
    return this.describe(() => this.pc.createOffer());
  }

  /** The answer to an offer, with its candidates. */
  async answer(sdp: string, tracks: LocalTracks): Promise<string | undefined> {
    await this.pc.setRemoteDescription({ type: "offer", sdp });
    for (const transceiver of this.pc.getTransceivers()) transceiver.direction = "sendrecv";
    await this.send(tracks);
    return this.describe(() => this.pc.createAnswer());
  }

  async applyAnswer(sdp: string): Promise<void> {
    if (!this.over) await this.pc.setRemoteDescription({ type: "answer", sdp });
  }

  /** Sends these tracks from now on; nothing is negotiated for that. */
  async send(tracks: LocalTracks): Promise<void> {
    this.transceivers = this.pc.getTransceivers();
    await Promise.all(LINES.map((line, index) => this.transceivers[index]?.sender.replaceTrack(tracks[line] ?? null)));
    this.tell(tracks);
  }

  /** Tells the peer what is sent. */
  tell(tracks: LocalTracks): void {
    this.control.tell({
      audio: tracks.audio?.enabled === true,
      video: tracks.video?.enabled === true,
      screen: tracks.screen?.enabled === true,
    });
  }

  /** What the peer sends, by line. */
  tracks(): Partial<Record<Line, TrackLike>> {
    const tracks: Partial<Record<Line, TrackLike>> = {};
    LINES.forEach((line, index) => {
      const track = this.transceivers[index]?.receiver.track;
      if (track) tracks[line] = track;
    });
    return tracks;
  }

  /** Asks the peer for a sign of life and looks for others. */
  async probe(): Promise<void> {
    if (!this.control.open) return;
    this.control.ping();
    const counts = count(await this.pc.getStats());
    if (counts.bytes > this.bytes) this.hear();
    this.bytes = counts.bytes;
    if (counts.received + counts.lost > 0) this.loss = Math.max(0, counts.lost / (counts.received + counts.lost));
  }

  /** Nothing can come of it any more. */
  fail(): void {
    this.failed = true;
  }

  report(): ConnectionReport {
    const report: ConnectionReport = { state: this.state() };
    if (this.control.rttMs !== undefined) report.rttMs = this.control.rttMs;
    if (this.loss !== undefined) report.loss = this.loss;
    if (this.established) report.silentMs = Math.max(0, Math.round(this.options.now() - this.heardAt));
    return report;
  }

  close(): void {
    this.over = true;
    this.control.close();
    this.pc.onconnectionstatechange = null;
    this.pc.onicegatheringstatechange = null;
    this.pc.close();
  }

  /** Connected means that media can flow and the control channel is open. */
  private state(): RtcPeerState {
    const state = this.pc.connectionState as RtcPeerState;
    if (this.failed) return "failed";
    if (state === "connected" && !this.control.open) return this.established ? "failed" : "connecting";
    return state;
  }

  private hear(): void {
    this.heardAt = this.options.now();
  }

  private async describe(make: () => ReturnType<PeerConnectionLike["createOffer"]>): Promise<string | undefined> {
    if (this.over) return undefined;
    await this.pc.setLocalDescription(await make());
    await this.gathered();
    if (this.over) return undefined;
    return `${this.pc.localDescription?.sdp ?? ""}a=end-of-candidates\r\n`;
  }

  private gathered(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.options.gatherMs);
      const look = (): void => {
        if (this.pc.iceGatheringState !== "complete") return;
        clearTimeout(timer);
        resolve();
      };
      this.pc.onicegatheringstatechange = look;
      look();
    });
  }
}

interface Counts {
  bytes: number;
  received: number;
  lost: number;
}

function count(stats: { forEach(each: (entry: Record<string, unknown>) => void): void }): Counts {
  const counts = { bytes: 0, received: 0, lost: 0 };
  stats.forEach((entry) => {
    if (entry["type"] === "transport") counts.bytes += number(entry["bytesReceived"]);
    if (entry["type"] === "inbound-rtp") {
      counts.received += number(entry["packetsReceived"]);
      counts.lost += number(entry["packetsLost"]);
    }
  });
  return counts;
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}
