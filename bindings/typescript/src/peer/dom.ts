/** The parts of WebRTC that the peer code uses: the browser's own objects fit, and so do stand-ins in tests. */

export interface TrackLike {
  readonly kind: string;
  enabled: boolean;
}

export interface SenderLike {
  replaceTrack(track: TrackLike | null): Promise<void>;
}

export interface TransceiverLike {
  readonly sender: SenderLike;
  readonly receiver: { readonly track: TrackLike };
  direction: string;
}

export interface ChannelLike {
  readonly readyState: string;
  readonly bufferedAmount: number;
  send(text: string): void;
  onopen: ((event: never) => unknown) | null;
  onclose: ((event: never) => unknown) | null;
  onmessage: ((event: never) => unknown) | null;
}

export interface DescriptionLike {
  type: "offer" | "answer" | "pranswer" | "rollback";
  sdp?: string;
}

/** What `getStats()` resolves with; its entries are objects with a `type`. */
export interface StatsLike {
  forEach(each: (entry: Record<string, unknown>) => void): void;
}

export interface PeerConnectionLike {
  readonly connectionState: string;
  readonly iceGatheringState: string;
  readonly localDescription: { readonly sdp: string } | null;
  onconnectionstatechange: ((event: never) => unknown) | null;
  onicegatheringstatechange: ((event: never) => unknown) | null;
  addTransceiver(kind: string, init: { direction: "sendrecv" }): TransceiverLike;
  getTransceivers(): TransceiverLike[];
  createDataChannel(label: string, options: { negotiated: boolean; id: number }): ChannelLike;
  createOffer(): Promise<{ type: "offer" | "answer" | "pranswer" | "rollback"; sdp?: string }>;
  createAnswer(): Promise<{ type: "offer" | "answer" | "pranswer" | "rollback"; sdp?: string }>;
  setLocalDescription(description: DescriptionLike): Promise<void>;
  setRemoteDescription(description: DescriptionLike & { sdp: string }): Promise<void>;
  getStats(): Promise<StatsLike>;
  close(): void;
}

export interface PeerConfiguration {
  iceServers: { urls: string | string[]; username?: string; credential?: string }[];
  iceTransportPolicy: "all" | "relay";
  bundlePolicy: "max-bundle";
  certificates?: unknown[];
}

/** `RTCPeerConnection` itself. */
export interface PeerConnectionClass {
  // Its configuration is the DOM's: what is passed is a PeerConfiguration.
  new (configuration: never): PeerConnectionLike;
  generateCertificate?(algorithm: never): Promise<unknown>;
}
