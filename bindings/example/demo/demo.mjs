// One real call between two sidecars, seen from a front end that uses only the bindings: alice calls bob with
// video, bob accepts, alice shares her screen half way, they hang up. What each received is recorded by its
// sidecar and checked by verify.py against this run's random colour codes and tones.
import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync, copyFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { spawnSidecar } from "../../typescript/dist/esm/index.js";
import { Ladder } from "./ladder.mjs";
import { PYTHON, ROOT, endAll, startRelay, startScreen } from "./lab.mjs";

const { values: flags } = parseArgs({
  options: {
    seconds: { type: "string", default: "12" },
    graph: { type: "string", default: "own" },
    out: { type: "string", default: path.join(ROOT, "demo-out") },
    json: { type: "boolean", default: false },
    // What alice really sends; the check still expects this run's code and tone.
    camera: { type: "string" },
    microphone: { type: "string" },
  },
});
const seconds = Number(flags.seconds);
if (!(seconds >= 4 && seconds <= 600)) usage("--seconds takes a number from 4 to 600");
if (!["own", "gunjs"].includes(flags.graph)) usage("--graph takes own or gunjs");

const print = flags.json ? (line) => process.stderr.write(`${line}\n`) : (line) => console.log(line);
const ladder = new Ladder(print);
const work = mkdtempSync(path.join(tmpdir(), "aleph-demo-"));
const hex = (value) => value.toString(16).padStart(2, "0");
/** A saturated colour: one channel high, one low, one anything, in random order. */
function color() {
  const channels = [randomInt(208, 256), randomInt(0, 48), randomInt(0, 256)];
  channels.sort(() => randomInt(0, 2) - 0.5);
  return channels.map(hex).join("");
}
const tone = () => 400 + 50 * randomInt(0, 30);
const people = {
  alice: { color: color(), tone: tone() },
  bob: { color: color(), tone: tone() },
};
if (people.alice.tone === people.bob.tone) people.bob.tone += 50;

function usage(message) {
  console.error(`demo: ${message}`);
  process.exit(2);
}

/** Resolves with the first event that matches; a call that never gets there is an error, not a hang. */
function until(client, event, matches, ms = 20_000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} within ${ms} ms`)), ms);
    const off = client.on(event, (data) => {
      if (!matches(data)) return;
      clearTimeout(timer);
      off();
      resolve(data);
    });
  });
}

const open = new Set();

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Starts a sidecar; without `social` only to let it make its identity and say who it is. */
async function person(name, peers, display, social) {
  const spec = people[name];
  const client = await spawnSidecar({
    python: PYTHON,
    cwd: ROOT,
    dataDir: path.join(work, name),
    peers,
    config: {
      media: {
        iceInterfaces: ["127.0.0.0/8"],
        camera: (name === "alice" && flags.camera) || `pattern:color=${spec.color},size=640x360,fps=30`,
        microphone: (name === "alice" && flags.microphone) || `tone:${spec.tone}`,
        display,
      },
      ...(social && { social }),
    },
    env: { ...process.env, DISPLAY: display },
    onLog: (record) => ladder.log(name, record),
    restart: false,
  });
  open.add(client);
  return client;
}

async function introduce(peers, display) {
  const selves = {};
  for (const name of ["alice", "bob"]) {
    const client = await person(name, peers, display);
    selves[name] = (await client.system.hello({})).self;
    await client.close();
  }
  return selves;
}

const friend = (self, name) => ({
  id: self.userId, displayName: name, status: "online", publicKey: self.publicKey, resonance: 0, lastSeen: 0,
});

async function call() {
  const screen = await startScreen(color());
  const peers = [await startRelay(flags.graph, mkdtempSync(path.join(work, "relay-")))];
  const selves = await introduce(peers, screen.display);
  const alice = await person("alice", peers, screen.display, {
    self: { displayName: "Alice" }, friends: [friend(selves.bob, "Bob")],
  });
  const bob = await person("bob", peers, screen.display, {
    self: { displayName: "Bob" }, friends: [friend(selves.alice, "Alice")],
  });
  const clients = Object.entries({ alice, bob });
  for (const [name, client] of clients) ladder.follow(name, selves[name].userId, client);
  await Promise.all(clients.map(([, client]) => healthy(client)));

  const offered = until(bob, "aleph:callOffer", () => true);
  const actives = clients.map(([, client]) =>
    until(client, "aleph:callStateChange", (change) => change.state === "active"));
  const clicked = performance.now();
  const session = await alice.call.initiate({ userId: selves.bob.userId, type: "video" });
  const offer = await offered;
  await bob.call.accept({ callId: offer.callId });
  await Promise.all(actives);
  const setupMs = Math.round(performance.now() - clicked);
  const callId = session.id;

  const recordings = {};
  for (const [name, client] of clients)
    recordings[name] = await client.call.recordStart({ callId, mode: "tracks" });
  await pause((seconds * 1000) / 2);
  const sources = await alice.media.getScreenSources({ types: ["screen"] });
  await alice.call.shareScreen({ callId, enabled: true, sourceId: sources[0].id });
  await pause((seconds * 1000) / 2);
  const stats = {};
  for (const [name, client] of clients) stats[name] = await client.call.stats({ callId });
  for (const [name, client] of clients) {
    const { path: folder } = await client.call.recordStop({ recordingId: recordings[name].recordingId });
    const other = name === "alice" ? "bob" : "alice";
    recordings[name].file = path.join(folder, `${selves[other].userId}.webm`);
  }
  const ended = until(bob, "aleph:callStateChange", (change) => change.state === "ended");
  await alice.call.end({ callId });
  const { reason } = await ended;
  const record = await bob.call.get({ callId });
  for (const [, client] of clients) await client.close();
  return { screen, selves, setupMs, recordings, stats, record, reason };
}

/** Waits until health has no problem (a relay is connected, media is loaded): there is no event for it. */
async function healthy(client) {
  const deadline = Date.now() + 20_000;
  let health;
  do {
    health = await client.system.health();
    if (health.status === "ok") return;
    await pause(50);
  } while (Date.now() < deadline);
  throw new Error(`not healthy within 20 s: ${JSON.stringify(health.problems)}`);
}

/** Checks the recordings by decoding them; the expectation of each receiver is what the *other* was told to send. */
function verify(result) {
  const expected = {
    alice: { from: "bob", file: result.recordings.alice.file, ...people.bob, seconds, screen: false },
    bob: {
      from: "alice", file: result.recordings.bob.file, ...people.alice, seconds,
      screen: true, screenColor: result.screen.color,
    },
  };
  const script = path.join(ROOT, "bindings/example/demo/verify.py");
  const child = spawnSync(PYTHON, [script, flags.out], { input: JSON.stringify(expected), encoding: "utf8", cwd: ROOT });
  if (child.status !== 0) throw new Error(`verify.py: ${child.stderr}`);
  return JSON.parse(child.stdout);
}

function table(seen) {
  const columns = ["video_frames", "fps", "width", "height", "audio_frames", "tone_hz", "screen_frames"];
  print(["".padEnd(8), ...columns.map((name) => name.padStart(14))].join(""));
  for (const name of ["alice", "bob"])
    print([name.padEnd(8), ...columns.map((key) => String(seen[name][key] ?? "-").padStart(14))].join(""));
}

async function main() {
  mkdirSync(flags.out, { recursive: true });
  const result = await call();
  const seen = verify(result);
  copyFileSync(result.recordings.bob.file, path.join(flags.out, "received-by-bob.webm"));
  writeFileSync(path.join(flags.out, "call.json"), JSON.stringify({ record: result.record, stats: result.stats, ladder: ladder.rows }, null, 2));
  const { problems, ...sides } = seen;
  const summary = {
    ok: problems.length === 0, setup_ms: result.setupMs, ...sides, signals: ladder.signals, graph: flags.graph,
    ...(problems.length > 0 && { problems }),
  };
  print("");
  table(seen);
  print(`\nset-up ${result.setupMs} ms, ${ladder.signals} signals, ended at bob: ${result.reason}; see ${flags.out}`);
  for (const problem of problems) print(`PROBLEM: ${problem}`);
  return summary;
}

let summary;
try {
  summary = await main();
} catch (error) {
  summary = { ok: false, graph: flags.graph, problems: [String(error?.stack ?? error)] };
  print(summary.problems[0]);
} finally {
  await Promise.all([...open].map((client) => client.close()));
  await endAll();
  rmSync(work, { recursive: true, force: true });
}
if (flags.json) console.log(JSON.stringify(summary));
process.exitCode = summary.ok ? 0 : 1;
