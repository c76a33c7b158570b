/**
 * Media of calls that this front end owns (`mediaOwner: "renderer"`): makes the connections the sidecar asks for.
 *
 * The sidecar decides; this obeys. A connection is never repaired: the sidecar asks for the next generation, which
 * is made beside the old one, and the old one is closed when the new one carries.
 */
import type { InvokeArgs, Result } from "../api.js";
import type { AlephNetEvents, RtcAnswer, RtcOffer, RtcStart } from "../generated/index.js";
import { Connection, LINES, type Line } from "./connection.js";
import type { SendState } from "./control.js";
import type { PeerConnectionClass, TrackLike } from "./dom.js";

type RtcChannel = "rtc:attach" | "rtc:report" | "rtc:send-offer" | "rtc:send-answer";
type PeerEvent =
  | "aleph:rtcStart"
  | "aleph:rtcOffer"
  | "aleph:rtcAnswer"
  | "aleph:mediaStateChange"
  | "aleph:participantLeft"
  | "aleph:callStateChange";

/** The way to the sidecar: a `Client` is one. */
export interface PeerLink {
  invoke<C extends RtcChannel>(channel: C, ...args: InvokeArgs<C>): Promise<Result<C>>;
  on<E extends PeerEvent>(event: E, listener: (data: AlephNetEvents[E]) => void): () => void;
}

export interface PeerHandlers {
  /** What a participant sends, by line; called again when a new generation carries it. */
  onTracks?(callId: string, userId: string, tracks: Partial<Record<Line, TrackLike>>): void;
  /** What a participant says that it sends. */
  onRemoteState?(callId: string, userId: string, state: SendState): void;
  /** A step of a connection failed; the sidecar has been told and tries the next generation. */
  onProblem?(error: unknown): void;
}

export interface PeerCallsOptions extends PeerHandlers {
  /** The browser's `RTCPeerConnection`. */
  RTCPeerConnection: PeerConnectionClass;
  /** The user of this node, as `hello.self.userId`. */
  userId: string;
  /** How often connections are reported, in milliseconds. Default 1000; the sidecar acts on 2500 of silence. */
  reportMs?: number;
  /** How long candidates are waited for, in milliseconds. Default 1000. */
  gatherMs?: number;
  /** Milliseconds that never go back. Default `Date.now`; a page has `performance.now`. */
  now?: () => number;
}

/** Offers that came before their `rtcStart`. */
const EARLY_MAX = 16;

const MEMBERS = { audio: "audioEnabled", video: "videoEnabled", screen: "screenSharing" } as const;

/** One call: the tracks that are sent, and the connections to each participant. */
interface Call {
  tracks: Partial<Record<Line, TrackLike>>;
  muted: Partial<Record<Line, boolean>>;
  connections: Set<Connection>;
  certificates: Map<string, Promise<unknown[]>>;
}

export class PeerCalls {
  private readonly calls = new Map<string, Call>();
  private readonly early = new Map<string, RtcOffer>();
  private readonly ending: (() => void)[];
  private readonly timer: ReturnType<typeof setInterval>;
  private readonly now: () => number;
  private attaching = 0;

  constructor(
    private readonly link: PeerLink,
    private readonly options: PeerCallsOptions,
  ) {
    this.now = options.now ?? Date.now;
    this.ending = [
      link.on("aleph:rtcStart", (start) => this.begin(start)),
      link.on("aleph:rtcOffer", (offer) => this.onOffer(offer)),
      link.on("aleph:rtcAnswer", (answer) => this.onAnswer(answer)),
      link.on("aleph:mediaStateChange", (change) => this.onMediaState(change)),
      link.on("aleph:participantLeft", ({ callId, userId }) => this.drop(callId, userId)),
      link.on("aleph:callStateChange", ({ callId, state }) => {
        if (state === "ended" || state === "failed") this.end(callId);
      }),
    ];
    this.timer = setInterval(() => this.tick(), options.reportMs ?? 1000);
  }

  /** Sends `track` on a line of a call from now on, or nothing; may be said before the call connects. */
  async setTrack(callId: string, line: Line, track: TrackLike | null): Promise<void> {
    const call = this.call(callId);
    if (track) call.tracks[line] = track;
    else delete call.tracks[line];
    this.applyMute(call);
    await Promise.all([...call.connections].map((connection) => connection.send(call.tracks)));
  }

  /**
   * Takes a call up again after this side was away: a page that was loaded anew, or a link that was lost. Connections
   * that live on are reported, those that do not are made again.
   */
  async attach(callId: string): Promise<void> {
    this.attaching += 1;
    try {
      const starts = await this.link.invoke("rtc:attach", { callId });
      for (const start of starts) this.begin(start);
    } finally {
      this.attaching -= 1;
    }
    this.tick();
  }

  /** Calls that this side has connections or tracks of. */
  get callIds(): string[] {
    return [...this.calls.keys()];
  }

  /** Closes every connection and hears nothing any more. */
  close(): void {
    clearInterval(this.timer);
    for (const end of this.ending) end();
    for (const callId of this.callIds) this.end(callId);
  }

  // --- connections

  private call(callId: string): Call {
    let call = this.calls.get(callId);
    if (!call) {
      call = { tracks: {}, muted: {}, connections: new Set(), certificates: new Map() };
      this.calls.set(callId, call);
    }
    return call;
  }

  private begin(start: RtcStart): void {
    const call = this.call(start.callId);
    for (const other of this.towards(start.callId, start.userId)) {
      if (other.start.gen >= start.gen) return; // told twice
      if (!other.established) this.discard(call, other);
    }
    void this.make(call, start);
  }

  private async make(call: Call, start: RtcStart): Promise<void> {
    const certificates = await this.certificates(call, start.userId);
    const stale = this.towards(start.callId, start.userId).some(({ start: { gen } }) => gen >= start.gen);
    if (stale || this.calls.get(start.callId) !== call) return;
    const { RTCPeerConnection, gatherMs = 1000, onRemoteState } = this.options;
    const around = { gatherMs, now: this.now };
    const connection: Connection = new Connection(start, RTCPeerConnection, certificates, around, {
      changed: () => void this.report(call, connection),
      remoteState: (state) => onRemoteState?.(start.callId, start.userId, state),
    });
    call.connections.add(connection);
    if (start.role === "offerer") {
      await this.step(call, connection, async () => {
        const sdp = await connection.offer(call.tracks);
        if (sdp !== undefined) await this.link.invoke("rtc:send-offer", { ...about(start), sdp });
      });
      return;
    }
    const offer = this.early.get(key(start.callId, start.userId, start.gen));
    if (offer) this.onOffer(offer);
  }

  private onOffer(offer: RtcOffer): void {
    const name = key(offer.callId, offer.fromUserId, offer.gen ?? 0);
    const connection = this.find(offer.callId, offer.fromUserId, offer.gen);
    if (!connection) {
      this.early.set(name, offer);
      const [oldest] = this.early.keys();
      if (this.early.size > EARLY_MAX && oldest !== undefined) this.early.delete(oldest);
      return;
    }
    this.early.delete(name);
    const call = this.call(offer.callId);
    void this.step(call, connection, async () => {
      const sdp = await connection.answer(offer.sdp, call.tracks);
      if (sdp === undefined) return;
      const { offerDigest } = offer;
      const answer = { ...about(connection.start), sdp };
      await this.link.invoke("rtc:send-answer", offerDigest === undefined ? answer : { ...answer, offerDigest });
    });
  }

  private onAnswer({ callId, fromUserId, gen, sdp }: RtcAnswer): void {
    const connection = this.find(callId, fromUserId, gen);
    if (connection) {
      void this.step(this.call(callId), connection, () => connection.applyAnswer(sdp));
    } else if (gen !== undefined) {
      // Of a connection that died with an earlier page: the sidecar should not wait for it.
      const gone = { callId, targetUserId: fromUserId, gen, state: "closed" } as const;
      this.link.invoke("rtc:report", gone).catch(() => undefined);
    }
  }

  /** One step of a negotiation; if it fails, so has the connection. */
  private async step(call: Call, connection: Connection, action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (!call.connections.has(connection)) return;
      this.options.onProblem?.(error);
      connection.fail();
      await this.report(call, connection);
    }
  }

  private certificates(call: Call, userId: string): Promise<unknown[]> {
    let made = call.certificates.get(userId);
    if (!made) {
      const { RTCPeerConnection } = this.options;
      const algorithm = { name: "ECDSA", namedCurve: "P-256" };
      made = RTCPeerConnection.generateCertificate
        ? RTCPeerConnection.generateCertificate(algorithm as never).then((certificate) => [certificate])
        : Promise.resolve([]);
      call.certificates.set(userId, made);
    }
    return made;
  }

  // --- reports

  private tick(): void {
    for (const call of this.calls.values()) {
      for (const connection of [...call.connections]) {
        connection.tell(call.tracks);
        void connection
          .probe()
          .catch(() => undefined)
          .then(() => this.report(call, connection));
      }
    }
  }

  private async report(call: Call, connection: Connection): Promise<void> {
    if (this.attaching > 0 || !call.connections.has(connection)) return;
    const { callId, targetUserId, gen } = about(connection.start);
    const report = connection.report();
    try {
      await this.link.invoke("rtc:report", { callId, targetUserId, gen, ...report });
    } catch (error) {
      if (refused(error) && call.connections.has(connection)) this.discard(call, connection);
      return;
    }
    if (report.state === "failed" || report.state === "closed") this.discard(call, connection);
    else if (report.state === "connected" && !connection.established) this.establish(call, connection);
  }

  private establish(call: Call, connection: Connection): void {
    const { callId, userId, gen } = connection.start;
    if (!call.connections.has(connection)) return;
    connection.established = true;
    connection.tell(call.tracks);
    this.options.onTracks?.(callId, userId, connection.tracks());
    for (const other of this.towards(callId, userId)) {
      if (other.start.gen < gen) this.discard(call, other);
    }
  }

  // --- what is sent

  private onMediaState(change: AlephNetEvents["aleph:mediaStateChange"]): void {
    if (change.userId !== this.options.userId) return;
    const call = this.call(change.callId);
    for (const line of LINES) call.muted[line] = !change[MEMBERS[line]];
    this.applyMute(call);
    for (const connection of call.connections) connection.tell(call.tracks);
  }

  private applyMute(call: Call): void {
    for (const line of LINES) {
      const track = call.tracks[line];
      const muted = call.muted[line];
      if (track && muted !== undefined) track.enabled = !muted;
    }
  }

  // --- ends

  private drop(callId: string, userId: string): void {
    const call = this.calls.get(callId);
    if (call) for (const connection of this.towards(callId, userId)) this.discard(call, connection);
    call?.certificates.delete(userId);
  }

  private end(callId: string): void {
    const call = this.calls.get(callId);
    this.calls.delete(callId);
    if (call) for (const connection of [...call.connections]) this.discard(call, connection);
    for (const [name, offer] of this.early) if (offer.callId === callId) this.early.delete(name);
  }

  private discard(call: Call, connection: Connection): void {
    call.connections.delete(connection);
    connection.close();
  }

  private towards(callId: string, userId: string): Connection[] {
    return [...(this.calls.get(callId)?.connections ?? [])].filter(({ start }) => start.userId === userId);
  }

  private find(callId: string, userId: string, gen: number | undefined): Connection | undefined {
    const all = this.towards(callId, userId);
    return gen === undefined ? all[all.length - 1] : all.find(({ start }) => start.gen === gen);
  }
}

function about({ callId, userId, gen }: RtcStart): { callId: string; targetUserId: string; gen: number } {
  return { callId, targetUserId: userId, gen };
}

function key(callId: string, userId: string, gen: number): string {
  return `${callId} ${userId} ${gen}`;
}

/** The sidecar has closed this connection, or has given the call to another client. */
function refused(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return code === "call.wrong-state" || code === "call.not-found";
}
