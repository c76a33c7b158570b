import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { SidecarError } from "../src/errors.js";
import type { RtcStart } from "../src/generated/index.js";
import { PeerCalls, type PeerCallsOptions, type PeerLink } from "../src/peer/index.js";
import { FakePeerConnection, FakeTrack } from "./fake-rtc.js";

const CALL = "call_one";
const ME = "a".repeat(16);
const BOB = "b".repeat(16);
const NEVER = 1_000_000_000;

/** The sidecar's side of the link: notes what it is told, says what the test wants. */
class FakeLink {
  readonly told: [string, Record<string, unknown>][] = [];
  readonly answers = new Map<string, unknown>();
  private readonly listeners = new Map<string, (data: never) => void>();

  invoke(channel: string, params: unknown): Promise<unknown> {
    this.told.push([channel, params as Record<string, unknown>]);
    const answer = this.answers.get(channel);
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  }

  on(event: string, listener: (data: never) => void): () => void {
    this.listeners.set(event, listener);
    return () => void this.listeners.delete(event);
  }

  emit(event: string, data: unknown): void {
    this.listeners.get(event)?.(data as never);
  }

  get hearing(): number {
    return this.listeners.size;
  }

  of(channel: string): Record<string, unknown>[] {
    return this.told.filter(([name]) => name === channel).map(([, params]) => params);
  }

  states(): unknown[] {
    return this.of("rtc:report").map(({ gen, state }) => `${String(gen)} ${String(state)}`);
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function start(gen: number, role: RtcStart["role"] = "offerer"): RtcStart {
  return { callId: CALL, userId: BOB, gen, role, iceServers: [{ urls: "stun:192.0.2.1" }], policy: "all" };
}

describe("PeerCalls", () => {
  let link: FakeLink;
  let peers: PeerCalls;
  let now = 0;
  let shown: string[] = [];
  let problems: unknown[] = [];

  beforeEach(() => {
    link = new FakeLink();
    FakePeerConnection.made = [];
    FakePeerConnection.certificates = 0;
    [now, shown, problems] = [0, [], []];
    const options: PeerCallsOptions = {
      RTCPeerConnection: FakePeerConnection,
      userId: ME,
      reportMs: NEVER,
      gatherMs: NEVER,
      now: () => now,
      onTracks: (_callId, _userId, tracks) => shown.push(Object.keys(tracks).join(" ")),
      onRemoteState: (_callId, _userId, { audio, video, screen }) => shown.push(`${audio} ${video} ${screen}`),
      onProblem: (error) => problems.push(error),
    };
    peers = new PeerCalls(link as PeerLink, options);
  });

  afterEach(() => peers.close());

  function made(index: number): FakePeerConnection {
    const connection = FakePeerConnection.made[index];
    assert.ok(connection, `connection ${index} was made`);
    return connection;
  }

  async function begun(gen = 0): Promise<FakePeerConnection> {
    link.emit("aleph:rtcStart", start(gen));
    await settled();
    return made(FakePeerConnection.made.length - 1);
  }

  async function connected(gen = 0): Promise<FakePeerConnection> {
    const connection = await begun(gen);
    link.emit("aleph:rtcAnswer", { callId: CALL, fromUserId: BOB, gen, sdp: "answer" });
    await settled();
    connection.connect();
    await settled();
    return connection;
  }

  it("offers the fixed layout with all its candidates", async () => {
    const sound = new FakeTrack("audio");
    await peers.setTrack(CALL, "audio", sound);
    const connection = await begun();
    assert.deepEqual(connection.layout, ["audio sendrecv", "video sendrecv", "video sendrecv"]);
    assert.deepEqual(connection.channelOptions, { label: "aleph-control", negotiated: true, id: 0 });
    assert.deepEqual(connection.configuration, {
      iceServers: [{ urls: "stun:192.0.2.1" }],
      iceTransportPolicy: "all",
      bundlePolicy: "max-bundle",
      certificates: ["certificate 1"],
    });
    assert.deepEqual(connection.sending, [sound, null, null]);
    const sdp = "offer\r\na=candidate\r\na=end-of-candidates\r\n";
    assert.deepEqual(link.told, [["rtc:send-offer", { callId: CALL, targetUserId: BOB, gen: 0, sdp }]]);
  });

  it("is connected when the control channel is open too", async () => {
    const connection = await begun();
    connection.connectionState = "connected";
    connection.onconnectionstatechange?.();
    await settled();
    assert.deepEqual(link.states(), ["0 connecting"]);
    connection.connect();
    await settled();
    assert.equal(link.states().pop(), "0 connected");
    assert.deepEqual(shown, ["audio video screen"], "told once");
  });

  it("answers an offer and names it, whichever comes first, the offer or the start", async () => {
    for (const [gen, early] of [true, false].entries()) {
      const events = [
        () => link.emit("aleph:rtcOffer", { callId: CALL, fromUserId: BOB, gen, sdp: "theirs", offerDigest: "d" }),
        () => link.emit("aleph:rtcStart", start(gen, "answerer")),
      ];
      for (const event of early ? events : events.reverse()) {
        event();
        await settled();
      }
      const connection = made(gen);
      assert.deepEqual(connection.remote, [{ type: "offer", sdp: "theirs" }]);
      assert.deepEqual(connection.layout, ["audio sendrecv", "video sendrecv", "video sendrecv"]);
      assert.equal(link.of("rtc:send-answer")[gen]?.["offerDigest"], "d");
    }
  });

  it("keeps the old generation until the new one carries, with the same certificate", async () => {
    const old = await connected(0);
    const next = await begun(1);
    assert.equal(old.connectionState, "connected");
    assert.deepEqual(next.configuration.certificates, old.configuration.certificates);
    next.connect();
    await settled();
    assert.equal(old.connectionState, "closed");
    assert.deepEqual(shown, ["audio video screen", "audio video screen"]);
    assert.equal(FakePeerConnection.certificates, 1);
  });

  it("gives up a generation that never came up for the next, and makes none twice", async () => {
    const first = await begun(0);
    await begun(1);
    link.emit("aleph:rtcStart", start(1));
    link.emit("aleph:rtcStart", start(0));
    await settled();
    assert.equal(first.connectionState, "closed");
    assert.equal(FakePeerConnection.made.length, 2);
  });

  it("closes what the sidecar does not know any more, but nothing because the link is down", async () => {
    const connection = await connected();
    link.answers.set("rtc:report", new SidecarError("client.lost-remote", "away"));
    connection.onconnectionstatechange?.();
    await settled();
    assert.equal(connection.connectionState, "connected");
    link.answers.set("rtc:report", new SidecarError("call.wrong-state", "stale"));
    connection.onconnectionstatechange?.();
    await settled();
    assert.equal(connection.connectionState, "closed");
  });

  it("mutes and unmutes as the sidecar says, and tells the peer", async () => {
    const [sound, picture] = [new FakeTrack("audio"), new FakeTrack("video")];
    const say = (audioEnabled: boolean, videoEnabled: boolean, userId = ME): void =>
      link.emit("aleph:mediaStateChange", { callId: CALL, userId, audioEnabled, videoEnabled, screenSharing: false });
    say(false, true);
    await peers.setTrack(CALL, "audio", sound);
    await peers.setTrack(CALL, "video", picture);
    assert.deepEqual([sound.enabled, picture.enabled], [false, true], "muted before there was a track");
    const connection = await connected();
    const states = (): unknown[] => connection.channel.sent.filter(({ t }) => t === "state");
    assert.deepEqual(states(), [{ t: "state", audio: false, video: true, screen: false }]);
    say(true, false);
    say(false, false, BOB);
    assert.deepEqual([sound.enabled, picture.enabled], [true, false]);
    assert.deepEqual(states()[1], { t: "state", audio: true, video: false, screen: false });
    await peers.setTrack(CALL, "video", null);
    assert.deepEqual(connection.sending, [sound, null, null]);
  });

  it("answers pings, measures, and hears what the peer sends", async () => {
    const connection = await connected();
    assert.deepEqual(connection.channel.sent[0], { t: "ping", n: 1 });
    now = 30;
    connection.hear({ t: "pong", n: 1 });
    connection.hear({ t: "ping", n: 7 });
    connection.hear({ t: "state", audio: true, video: false });
    for (const nonsense of ["{", "null", "[]", '{"t":"later"}', "x".repeat(50_000)]) connection.hear(nonsense);
    assert.deepEqual(connection.channel.sent[connection.channel.sent.length - 1], { t: "pong", n: 7 });
    assert.equal(shown[shown.length - 1], "true false false");
    connection.stats.push({ type: "inbound-rtp", packetsReceived: 90, packetsLost: 10 });
    now = 3030;
    link.answers.set("rtc:attach", []);
    await peers.attach(CALL);
    await settled();
    const { rttMs, loss, silentMs } = link.of("rtc:report").pop() ?? {};
    assert.deepEqual({ rttMs, loss, silentMs }, { rttMs: 30, loss: 0.1, silentMs: 3000 });
    connection.stats.push({ type: "transport", bytesReceived: 5 });
    await peers.attach(CALL);
    await settled();
    assert.equal(link.of("rtc:report").pop()?.["silentMs"], 0, "packets are a sign of life");
  });

  it("tells of a step that failed and lets the sidecar go on", async () => {
    const connection = await begun();
    connection.refuse = new Error("no");
    link.emit("aleph:rtcAnswer", { callId: CALL, fromUserId: BOB, gen: 0, sdp: "bad" });
    await settled();
    assert.deepEqual([link.states().pop(), problems.length], ["0 failed", 1]);
    assert.equal(connection.connectionState, "closed");
    await connected(1);
    assert.equal(link.states().pop(), "1 connected");
  });

  it("says that a connection of an earlier page is gone", async () => {
    link.emit("aleph:rtcAnswer", { callId: CALL, fromUserId: BOB, gen: 3, sdp: "answer" });
    await settled();
    assert.deepEqual(link.states(), ["3 closed"]);
  });

  it("takes a call up again with the connections that are to be made", async () => {
    link.answers.set("rtc:attach", [start(2)]);
    await peers.attach(CALL);
    await settled();
    assert.deepEqual(link.of("rtc:attach"), [{ callId: CALL }]);
    assert.equal(link.of("rtc:send-offer")[0]?.["gen"], 2);
  });

  it("lets go of who left, of a call that ended, and of everything", async () => {
    const first = await connected();
    link.emit("aleph:participantLeft", { callId: CALL, userId: BOB });
    assert.equal(first.connectionState, "closed");
    const second = await connected(1);
    link.emit("aleph:callStateChange", { callId: CALL, state: "ended" });
    assert.equal(second.connectionState, "closed");
    assert.deepEqual(peers.callIds, []);
    const third = await begun(2);
    peers.close();
    assert.deepEqual([third.connectionState, link.hearing], ["closed", 0]);
  });
});
