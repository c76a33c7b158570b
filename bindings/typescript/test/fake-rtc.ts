/** WebRTC that does nothing by itself: what is asked of it is noted, what it says is said by the test. */
import type { ChannelLike, DescriptionLike, PeerConnectionLike, TrackLike, TransceiverLike } from "../src/peer/dom.js";

export class FakeTrack implements TrackLike {
  enabled = true;
  constructor(readonly kind: string) {}
}

export class FakeChannel implements ChannelLike {
  readyState = "connecting";
  bufferedAmount = 0;
  readonly sent: Record<string, unknown>[] = [];
  onopen: (() => unknown) | null = null;
  onclose: (() => unknown) | null = null;
  onmessage: ((event: { data: unknown }) => unknown) | null = null;

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
}

export class FakePeerConnection implements PeerConnectionLike {
  static made: FakePeerConnection[] = [];
  static certificates = 0;

  static generateCertificate(): Promise<unknown> {
    FakePeerConnection.certificates += 1;
    return Promise.resolve(`certificate ${FakePeerConnection.certificates}`);
  }

  connectionState = "new";
  iceGatheringState = "new";
  localDescription: { sdp: string } | null = null;
  onconnectionstatechange: (() => unknown) | null = null;
  onicegatheringstatechange: (() => unknown) | null = null;
  readonly channel = new FakeChannel();
  readonly sending: (TrackLike | null)[] = [];
  readonly remote: DescriptionLike[] = [];
  readonly stats: Record<string, unknown>[] = [];
  channelOptions: object = {};
  refuse: Error | undefined;
  private readonly transceivers: TransceiverLike[] = [];

  constructor(readonly configuration: { certificates?: unknown[] }) {
    FakePeerConnection.made.push(this);
  }

  get layout(): string[] {
    return this.transceivers.map(({ receiver, direction }) => `${receiver.track.kind} ${direction}`);
  }

  addTransceiver(kind: string, { direction }: { direction: string }): TransceiverLike {
    const index = this.transceivers.length;
    const sender = {
      replaceTrack: (track: TrackLike | null): Promise<void> => {
        this.sending[index] = track;
        return Promise.resolve();
      },
    };
    const transceiver = { sender, receiver: { track: new FakeTrack(kind) }, direction };
    this.transceivers.push(transceiver);
    return transceiver;
  }

  getTransceivers(): TransceiverLike[] {
    return this.transceivers;
  }

  createDataChannel(label: string, options: object): ChannelLike {
    this.channelOptions = { label, ...options };
    return this.channel;
  }

  createOffer(): Promise<DescriptionLike> {
    return Promise.resolve({ type: "offer", sdp: "offer\r\n" });
  }

  createAnswer(): Promise<DescriptionLike> {
    return Promise.resolve({ type: "answer", sdp: "answer\r\n" });
  }

  setLocalDescription({ sdp = "" }: DescriptionLike): Promise<void> {
    this.localDescription = { sdp };
    this.iceGatheringState = "gathering";
    queueMicrotask(() => {
      this.localDescription = { sdp: `${sdp}a=candidate\r\n` };
      this.iceGatheringState = "complete";
      this.onicegatheringstatechange?.();
    });
    return Promise.resolve();
  }

  setRemoteDescription(description: DescriptionLike): Promise<void> {
    if (this.refuse) return Promise.reject(this.refuse);
    this.remote.push(description);
    if (description.type === "offer") {
      for (const kind of ["audio", "video", "video"]) this.addTransceiver(kind, { direction: "recvonly" });
    }
    return Promise.resolve();
  }

  getStats(): Promise<Map<string, Record<string, unknown>>> {
    return Promise.resolve(new Map(this.stats.map((entry, index) => [String(index), entry])));
  }

  close(): void {
    this.connectionState = "closed";
    this.channel.readyState = "closed";
  }

  /** Everything is up. */
  connect(): void {
    this.connectionState = "connected";
    this.onconnectionstatechange?.();
    this.channel.readyState = "open";
    this.channel.onopen?.();
  }

  /** The peer says something over the control channel. */
  hear(message: unknown): void {
    this.channel.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }
}
