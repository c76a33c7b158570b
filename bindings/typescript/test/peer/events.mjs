// Hears the events of a server and prints, as JSON lines, what happens to the link and what was heard.
// Usage: node events.mjs ENDPOINT JSON-options. Lines of stdin: "sleep MS" blocks the event loop, "heard" asks for what was
// heard since the last time. The end of stdin ends it.
import { createInterface } from "node:readline";
import { connect } from "../../dist/esm/index.js";

const [endpoint, options] = process.argv.slice(2);
const client = await connect(endpoint, JSON.parse(options));
const say = (line) => console.log(JSON.stringify(line));
let numbers = [];
let missed = 0;

client.on("aleph:speaking", ({ callId }) => {
  numbers.push(Number(callId.slice(1)));
  if (callId.endsWith("000")) say({ reached: callId });
});
client.on("gap", (gap) => {
  missed += gap.missed;
});
for (const notice of ["lost", "resumed", "restarted", "closed"]) client.on(notice, () => say({ notice }));

const input = createInterface({ input: process.stdin });
input.on("line", (line) => {
  const [command, ms] = line.split(" ");
  if (command === "heard") {
    say({ heard: numbers, missed });
    numbers = [];
  } else {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(ms));
    say({ slept: Number(ms) });
  }
});
input.on("close", () => client.close());
say({ connected: client.hello.seq });
