// Drives real sidecars through the built package and prints one JSON line a test can assert on.
// Usage: node sidecar.mjs SCENARIO DATA_DIR PYTHON
import { createRequire } from "node:module";
import { setTimeout as delay } from "node:timers/promises";
import { curveKeyPair } from "zeromq";
import { connect, CHANNELS, SCHEMA_SHA256, spawnSidecar } from "../../dist/esm/index.js";

const [scenario, folder, python] = process.argv.slice(2);
const log = [];
const base = { python, dataDir: folder, onLog: (record) => log.push(record) };

const failure = (promise) =>
  promise.then(
    () => null,
    (error) => ({ class: error.constructor.name, code: error.code, message: error.message, exitCode: error.exitCode }),
  );

const next = (client, name) =>
  new Promise((resolve) => {
    const off = client.on(name, (data) => {
      off();
      resolve(data);
    });
  });

/** The endpoint and key of a tcp sidecar, read from the ready line that its child printed. */
async function serveTcp(run) {
  const keys = curveKeyPair();
  const { spawn } = await import("node:child_process");
  const child = spawn(python, ["-m", "sidecar", "ipc"], { stdio: ["pipe", "pipe", "ignore"] });
  const handshake = { v: 1, dataDir: base.dataDir, transport: "tcp", curve: { clientKey: keys.publicKey } };
  child.stdin.write(`${JSON.stringify(handshake)}\n`);
  const ready = await new Promise((resolve) => child.stdout.once("data", (data) => resolve(JSON.parse(data))));
  try {
    return await run(ready.endpoint, { ...keys, serverKey: ready.serverKey });
  } finally {
    child.stdin.end();
    await new Promise((resolve) => child.once("exit", resolve));
  }
}

const scenarios = {
  /** Start, greet, ask, end. */
  async life() {
    const client = await spawnSidecar(base);
    const { pid, hello } = client;
    const health = await client.system.health();
    const invalid = await failure(client.invoke("system:hello", { client: 5 }));
    await client.close();
    return { pid, sameSchema: hello.schema === SCHEMA_SHA256, self: hello.self, calls: hello.calls, health, invalid };
  },
  /** Every channel is reachable by its namespaced name and answers in its own way, none with a broken link. */
  async channels() {
    const client = await spawnSidecar(base);
    const codes = {};
    for (const [name, { stream }] of Object.entries(CHANNELS)) {
      if (stream || name === "system:shutdown") continue;
      const error = await failure(client.invoke(name, {}));
      codes[name] = error?.code ?? "ok";
    }
    await client.close();
    return codes;
  },
  async commonjs() {
    const cjs = createRequire(import.meta.url)("../../dist/cjs/index.js");
    const client = await cjs.spawnSidecar(base);
    const { userId } = client.hello.self;
    await client.close();
    return { userId };
  },
  async tcp() {
    const client = await spawnSidecar({ ...base, transport: "tcp" });
    const health = await client.system.health();
    await client.close();
    return { status: health.status };
  },
  /** The one right client, then those that are refused. */
  refusal: () =>
    serveTcp(async (endpoint, curve) => {
      const right = await connect(endpoint, { curve });
      const { protocol } = right.hello;
      await right.close();
      const foreign = { ...curveKeyPair(), serverKey: curve.serverKey };
      const misled = { ...curve, serverKey: curveKeyPair().publicKey };
      return {
        protocol,
        foreign: await failure(connect(endpoint, { curve: foreign })),
        misled: await failure(connect(endpoint, { curve: misled })),
        plain: await failure(connect(endpoint)),
      };
    }),
  /** Killed while it serves: told, started again, usable. */
  async restart() {
    const client = await spawnSidecar(base);
    const before = { pid: client.pid, userId: client.hello.self.userId };
    const lost = next(client, "lost");
    const restarted = next(client, "restarted");
    process.kill(client.pid, "SIGKILL");
    const { error } = await lost;
    await restarted;
    const after = { pid: client.pid, userId: client.hello.self.userId };
    const { status } = await client.system.health();
    await client.close();
    return { lost: error.code, samePid: before.pid === after.pid, sameUser: before.userId === after.userId, status };
  },
  /** Told to end: not started again, and the client says so. */
  async shutdown() {
    const client = await spawnSidecar(base);
    const closed = next(client, "closed");
    await client.system.shutdown();
    const { error } = await closed;
    return { exitCode: error.exitCode, later: await failure(client.system.health()) };
  },
  /** A sidecar that cannot start says why. */
  async second() {
    const client = await spawnSidecar(base);
    const error = await failure(spawnSidecar(base));
    await client.close();
    return error;
  },
  /** Waits to be killed; what it spawned must not outlive it. */
  async orphan() {
    const client = await spawnSidecar(base);
    console.log(JSON.stringify({ pid: client.pid }));
    await delay(60_000);
  },
};

const result = await scenarios[scenario]();
console.log(JSON.stringify(result));
