// A person with a sidecar: takes every call, makes one when told to, and prints what happens as JSON lines.
// Usage: node friend.mjs DATA_DIR PYTHON CONFIG. Lines of stdin: "call USER", "end". The end of stdin ends it.
import { createInterface } from "node:readline";
import { spawnSidecar } from "../../dist/esm/index.js";

const [dataDir, python, config] = process.argv.slice(2);
const client = await spawnSidecar({ dataDir, python, config: JSON.parse(config) });
const say = (line) => console.log(JSON.stringify(line));
let call;

client.on("aleph:callOffer", (offer) => {
  say({ offer });
  call = offer.callId;
  client.call.accept({ callId: call }).catch(({ code, message }) => say({ failed: { code, message } }));
});
client.on("aleph:callStateChange", ({ state, reason, participant }) => say({ state, reason, participant }));

const commands = {
  async call(userId) {
    call = (await client.call.initiate({ userId, type: "video" })).id;
  },
  end: () => client.call.end({ callId: call }),
};
const input = createInterface({ input: process.stdin });
input.on("line", (line) => {
  const [command, ...args] = line.split(" ");
  commands[command](...args).catch(({ code, message }) => say({ failed: { code, message } }));
});
input.on("close", () => client.close());
say({ self: client.hello.self });
