/**
 * A sidecar that makes no calls: handshake, ready line, hello, events, an invented call.
 *
 * Run as a program; its first argument is a list of misbehaviours, separated by commas:
 *   crash          ends with code 3 before it is ready, with words on stderr
 *   silent         is never ready
 *   babble         prints something else than a ready line
 *   deaf           ignores the end of its input and SIGTERM
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { encode } from "@msgpack/msgpack";
import { Router } from "zeromq";
import { readRequest } from "./server-wire.js";

const faults = new Set((process.argv[2] ?? "").split(","));
const folder = mkdtempSync(join(tmpdir(), "fake-sidecar-"));
const endpoint = `ipc://${join(folder, "s")}`;
const socket = new Router({ linger: 0 });
let handshake: unknown;
let events: ((name: string, args: unknown) => void) | undefined;
let seq = 0;

function log(message: string): void {
  process.stderr.write(`${JSON.stringify({ level: "info", msg: message, pid: process.pid })}\n`);
}

function emit(event: string, data: object): void {
  seq += 1;
  events?.("STREAM", { seq, event, data });
}

function call(userId: string, type: string, state: string): object {
  const participant = { userId, displayName: userId, state: "ringing", audioEnabled: true, videoEnabled: true };
  return { id: "fake-call", type, state, initiatorId: "me", participants: [participant], createdAt: 1, recording: false };
}

function serve(name: string, params: Record<string, string>): unknown {
  switch (name) {
    case "system:hello":
      return { protocol: 1, schema: "", features: [], self: { userId: `pid-${process.pid}` }, calls: [], seq };
    case "system:health":
      return { handshake, env: process.env["FAKE_SIDECAR"], cwd: process.cwd() };
    case "call:initiate":
      setImmediate(() => emit("aleph:callStateChange", { callId: "fake-call", state: "ringing" }));
      return call(String(params["userId"]), String(params["type"]), "initiating");
    case "system:shutdown":
      setImmediate(() => process.exit(7));
      return { stopping: true };
    default:
      throw new Error(name);
  }
}

async function run(): Promise<void> {
  for await (const [client, , data] of socket) {
    if (!data) continue;
    const { id, name, args } = readRequest(data);
    const reply = (kind: string, value: unknown): void =>
      void socket.send([client ?? null, "", encode([{ message_id: "s", v: 3, response_to: id }, kind, value])]);
    if (name === "events") events = reply;
    else if (!name.startsWith("_zpc")) {
      try {
        reply("OK", [serve(name, (args as Record<string, string>[])[0] ?? {})]);
      } catch {
        reply("ERR", ["not-implemented", `${name} is not made`, ""]);
      }
    }
  }
}

function end(): void {
  rmSync(folder, { recursive: true, force: true });
  process.exit(0);
}

const input = createInterface({ input: process.stdin });
input.once("line", (line) => {
  handshake = JSON.parse(line);
  if (faults.has("crash")) {
    process.stderr.write("the last words\n");
    process.exit(3);
  }
  if (faults.has("babble")) console.log("hello there");
  if (faults.has("silent")) return;
  void socket.bind(endpoint).then(() => {
    log("bound");
    console.log(JSON.stringify({ v: 1, ready: true, endpoint, pid: process.pid, protocol: 1, schema: "", web: null }));
    return run();
  });
});
if (faults.has("deaf")) {
  process.on("SIGTERM", () => log("SIGTERM ignored"));
  setInterval(() => undefined, 1000);
} else {
  input.on("close", end);
}
