import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, it } from "node:test";
import type { Client } from "../src/client.js";
import { SpawnError } from "../src/errors.js";
import type { LogRecord } from "../src/process.js";
import { spawnSidecar, type SpawnOptions } from "../src/spawn.js";

const FAKE = fileURLToPath(new URL("./fake-sidecar.js", import.meta.url));

function fake(options: SpawnOptions = {}, faults = ""): Promise<Client> {
  return spawnSidecar({ command: [process.execPath, FAKE, faults], ...options });
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function once<T>(subscribe: (callback: (data: T) => void) => () => void): Promise<T> {
  return new Promise((resolve) => {
    const off = subscribe((data) => {
      off();
      resolve(data);
    });
  });
}

describe("spawning", () => {
  it("hands over the handshake, connects, and ends the process with the client", async () => {
    const client = await fake({ dataDir: "/d", peers: ["http://127.0.0.1:1/gun"], env: { FAKE_SIDECAR: "yes" } });
    const { pid } = client;
    assert.ok(pid !== undefined && client.hello.self.userId === `pid-${pid}`);
    const told = (await client.system.health()) as unknown as { handshake: object; env: string };
    assert.deepEqual(told.handshake, { v: 1, dataDir: "/d", peers: ["http://127.0.0.1:1/gun"], parentPid: process.pid });
    assert.equal(told.env, "yes");
    await client.close();
    assert.ok(!alive(pid));
  });

  it("carries events", async () => {
    const client = await fake();
    const change = once<{ state: string }>((callback) => client.on("aleph:callStateChange", callback));
    const session = await client.call.initiate({ userId: "bob", type: "video" });
    assert.equal(session.state, "initiating");
    assert.equal((await change).state, "ringing");
    await client.close();
  });

  it("parses the log", async () => {
    const records: LogRecord[] = [];
    const client = await fake({ onLog: (record) => records.push(record) });
    await client.close();
    assert.equal(records[0]?.msg, "bound");
  });
});

describe("a sidecar that does not start", () => {
  const failing = async (promise: Promise<unknown>): Promise<SpawnError> => {
    const error = await promise.then(
      () => assert.fail("it started"),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof SpawnError, String(error));
    return error;
  };

  it("tells its exit code and last words", async () => {
    const error = await failing(fake({}, "crash"));
    assert.equal(error.exitCode, 3);
    assert.deepEqual(error.stderr, ["the last words"]);
  });

  it("tells that the program is missing", async () => {
    const error = await failing(spawnSidecar({ command: [join("/nowhere", "aleph-sidecar")] }));
    assert.match(error.message, /ENOENT/);
  });

  it("is ended when it is not ready in time", async () => {
    const error = await failing(fake({ readyTimeoutMs: 300 }, "silent"));
    assert.match(error.message, /not ready in 300 ms/);
  });

  it("is ended when it says something else", async () => {
    const error = await failing(fake({}, "babble"));
    assert.match(error.message, /hello there/);
  });
});

describe("a sidecar that ends by itself", () => {
  it("is started again, and the client says so", async () => {
    const client = await fake();
    const first = client.pid;
    const restarted = once<{ hello: { self: { userId: string } } }>((callback) => client.on("restarted", callback));
    process.kill(first ?? 0, "SIGKILL");
    const { hello } = await restarted;
    assert.notEqual(client.pid, first);
    assert.equal(hello.self.userId, `pid-${client.pid}`);
    const change = once((callback) => client.on("aleph:callStateChange", callback));
    await client.call.initiate({ userId: "bob", type: "audio" });
    await change;
    await client.close();
  });

  it("closes the client where restarts are switched off, with its exit code", async () => {
    const client = await fake({ restart: false });
    const closed = once<{ error?: Error }>((callback) => client.on("closed", callback));
    await client.system.shutdown();
    const { error } = await closed;
    assert.ok(error instanceof SpawnError);
    assert.equal(error.exitCode, 7);
  });

  it("is given up after the allowed restarts", async () => {
    const client = await fake({ restart: { attempts: 1 } });
    const closed = once<{ error?: Error }>((callback) => client.on("closed", callback));
    const restarted = once((callback) => client.on("restarted", callback));
    process.kill(client.pid ?? 0, "SIGKILL");
    await restarted;
    process.kill(client.pid ?? 0, "SIGKILL");
    assert.ok((await closed).error instanceof SpawnError);
  });
});

describe("closing", () => {
  it("kills a sidecar that ignores the end of its input and SIGTERM", async () => {
    const records: LogRecord[] = [];
    const client = await fake({ onLog: (record) => records.push(record) }, "deaf");
    const { pid } = client;
    await client.close();
    assert.ok(pid !== undefined && !alive(pid));
    assert.ok(records.some(({ msg }) => msg === "SIGTERM ignored"));
  });
});
