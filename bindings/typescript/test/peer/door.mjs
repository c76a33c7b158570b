// Three users through the built package: a friend, a stranger, and somebody who is blocked.
// Prints one JSON line a test can assert on. Usage: node door.mjs DATA_DIR PYTHON RELAY_URL
import { join } from "node:path";
import { spawnSidecar } from "../../dist/esm/index.js";

const [folder, python, relay] = process.argv.slice(2);
const heard = { alice: [], bob: [], mallory: [] };
const waiting = new Set();

/** A sidecar whose every event is kept; it sends a tone, and its calls ring as short as may be. */
async function person(name) {
  const client = await spawnSidecar({
    python,
    dataDir: join(folder, name),
    peers: [relay],
    config: {
      media: { iceInterfaces: ["127.0.0.0/8"], microphone: "tone:440" },
      calls: { ringTimeoutSeconds: 15 },
      social: { self: { displayName: name } },
    },
  });
  for (const event of ["aleph:callOffer", "aleph:callRequest", "aleph:callStateChange", "aleph:callSummary"])
    client.on(event, (data) => {
      heard[name].push({ event, ...data });
      for (const look of [...waiting]) look();
    });
  return client;
}

/** The first event of a name about a call, past or to come. */
function event(name, kind, callId, matches = () => true) {
  const found = () =>
    heard[name].find((item) => item.event === kind && (item.callId ?? callId) === callId && matches(item));
  return new Promise((resolve) => {
    const look = () => {
      if (!found()) return;
      waiting.delete(look);
      resolve(found());
    };
    waiting.add(look);
    look();
  });
}

const state = (wanted) => (item) => item.state === wanted;
const over = (item) => item.state === "ended" || item.state === "failed";
const who = (client) => ({ id: client.hello.self.userId, publicKey: client.hello.self.publicKey });

const [alice, bob, mallory] = await Promise.all(["alice", "bob", "mallory"].map(person));
// Everybody knows Bob; Bob knows Alice.
for (const client of [alice, mallory])
  await client.social.sync({ friends: [{ ...who(bob), displayName: "Bob" }] });
await bob.social.sync({ friends: [{ ...who(alice), displayName: "Alice" }] });

/** A call that Bob takes, from the first event of the given kind to the end. */
async function taken(name, caller, kind) {
  const { id } = await caller.call.initiate({ userId: who(bob).id, type: "audio" });
  const first = await event("bob", kind, id);
  await bob.call.accept({ callId: id });
  await Promise.all([event("bob", "aleph:callStateChange", id, state("active")), event(name, "aleph:callStateChange", id, state("active"))]);
  await caller.call.end({ callId: id });
  const end = await event("bob", "aleph:callStateChange", id, over);
  return { id, verified: first.verified ?? null, reason: end.reason };
}

const about = (name, id) => heard[name].filter((item) => item.callId === id).map((item) => [item.event, item.state ?? null]);

const friend = await taken("alice", alice, "aleph:callOffer");
const stranger = await taken("mallory", mallory, "aleph:callRequest");
stranger.offers = heard.bob.filter((item) => item.event === "aleph:callOffer" && item.callId === stranger.id).length;

await bob.social.block({ userId: who(alice).id });
const blocked = await alice.call.initiate({ userId: who(bob).id, type: "audio" });
const end = await event("alice", "aleph:callStateChange", blocked.id, over);
const result = {
  friend,
  stranger,
  blocked: { reason: end.reason, caller: about("alice", blocked.id), callee: about("bob", blocked.id) },
};
await Promise.all([alice, bob, mallory].map((client) => client.close()));
console.log(JSON.stringify(result));
