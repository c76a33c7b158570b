import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openClient, type Client, type ClientOptions } from "../src/client.js";
import { ClosedError, LostRemoteError, SidecarError } from "../src/errors.js";
import type { Dialer } from "../src/transport.js";
import { FakeTransport } from "./fake-transport.js";

/** A sidecar that can be left and found again; every connection to it is one FakeTransport. */
class FakeSidecar implements Dialer {
  generation = 1;
  protocol = 1;
  seq = 10;
  closed = false;
  readonly connections: FakeTransport[] = [];
  private subscription = "";

  dial(): Promise<FakeTransport> {
    const transport = new FakeTransport(({ id, name, args }) => {
      const [params] = args as [unknown];
      if (name === "system:hello") transport.reply(id, "OK", [this.hello()]);
      else if (name === "events") this.subscription = id;
      else if (name === "call:get") transport.reply(id, "OK", [params]);
      else if (!name.startsWith("_zpc")) transport.reply(id, "ERR", ["not-implemented", name, ""]);
    });
    this.connections.push(transport);
    return Promise.resolve(transport);
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  hello(): object {
    return { protocol: this.protocol, schema: "", features: [], self: {}, calls: [], seq: this.seq };
  }

  get link(): FakeTransport {
    const link = this.connections[this.connections.length - 1];
    assert.ok(link);
    return link;
  }

  push(item: unknown): void {
    this.link.reply(this.subscription, "STREAM", item);
  }

  event(event: string, data: unknown): void {
    this.seq += 1;
    this.push({ seq: this.seq, event, data });
  }

  subscribedSince(connection: number): unknown {
    const [params] = this.connections[connection]?.named("events")[0]?.args as [{ since: number }];
    return params.since;
  }
}

async function opened(options: ClientOptions = {}): Promise<{ sidecar: FakeSidecar; client: Client }> {
  const sidecar = new FakeSidecar();
  const client = await openClient(sidecar, options);
  await settled();
  return { sidecar, client };
}

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function next<T>(subscribe: (callback: (data: T) => void) => () => void): Promise<T> {
  return new Promise((resolve) => {
    const off = subscribe((data) => {
      off();
      resolve(data);
    });
  });
}

describe("opening", () => {
  it("greets with who it is, then subscribes after the snapshot", async () => {
    const { sidecar, client } = await opened({ token: "t", client: "test 1", mediaOwner: "renderer" });
    const [hello, events] = sidecar.link.sent;
    assert.deepEqual(hello?.args, [{ token: "t", client: "test 1", mediaOwner: "renderer" }]);
    assert.deepEqual(events?.args, [{ since: 10 }]);
    assert.equal(client.hello.seq, 10);
    await client.close();
    assert.ok(sidecar.closed);
  });

  it("fails with the coded error of a refused hello, and leaves nothing behind", async () => {
    const sidecar = new FakeSidecar();
    sidecar.dial = () => {
      const transport = new FakeTransport(({ id }) =>
        transport.reply(id, "ERR", ["policy.permission-missing", "unknown token", ""]),
      );
      sidecar.connections.push(transport);
      return Promise.resolve(transport);
    };
    await assert.rejects(openClient(sidecar), { code: "policy.permission-missing" });
    assert.ok(sidecar.closed && sidecar.link.closed);
  });

  it("refuses another major version of the protocol", async () => {
    const sidecar = new FakeSidecar();
    sidecar.protocol = 2;
    await assert.rejects(openClient(sidecar), { code: "client.protocol" });
  });

  it("gives up on a silent server", async () => {
    const sidecar = new FakeSidecar();
    sidecar.dial = () => Promise.resolve(new FakeTransport());
    await assert.rejects(openClient(sidecar, { connectTimeoutMs: 5 }), { code: "client.timeout" });
  });
});

describe("channels", () => {
  it("are called by name and by namespace, with nil for absent params", async () => {
    const { sidecar, client } = await opened();
    assert.deepEqual(await client.invoke("call:get", { callId: "c1" }), { callId: "c1" });
    assert.deepEqual(await client.call.get({ callId: "c2" }), { callId: "c2" });
    await assert.rejects(client.media.getDevices(), { code: "not-implemented", message: "media:get-devices" });
    assert.deepEqual(sidecar.link.named("media:get-devices")[0]?.args, [null]);
    await client.close();
  });

  it("fail once the client is closed", async () => {
    const { client } = await opened();
    await client.close();
    await assert.rejects(client.call.get({ callId: "c" }), ClosedError);
  });
});

describe("events", () => {
  it("reach every listener until it ends its subscription", async () => {
    const { sidecar, client } = await opened();
    const heard: string[] = [];
    const off = client.on("aleph:callOffer", ({ callId }) => heard.push(`first ${callId}`));
    client.on("aleph:callOffer", ({ callId }) => heard.push(`second ${callId}`));
    sidecar.event("aleph:callOffer", { callId: "c1" });
    await settled();
    off();
    off();
    sidecar.event("aleph:callOffer", { callId: "c2" });
    await settled();
    assert.deepEqual(heard, ["first c1", "second c1", "second c2"]);
    await client.close();
  });

  it("tell of gaps", async () => {
    const { sidecar, client } = await opened();
    const gap = next<{ missed: number }>((callback) => client.on("gap", callback));
    sidecar.push({ gap: 7 });
    assert.deepEqual(await gap, { missed: 7 });
    await client.close();
  });

  it("unknown to this client are ignored", async () => {
    const { sidecar, client } = await opened();
    sidecar.event("aleph:fromTheFuture", {});
    const offer = next((callback) => client.on("aleph:callOffer", callback));
    sidecar.event("aleph:callOffer", { callId: "c1" });
    await offer;
    await client.close();
  });

  it("may be limited to some", async () => {
    const { sidecar, client } = await opened({ events: ["aleph:callOffer"] });
    assert.deepEqual(sidecar.link.named("events")[0]?.args, [{ types: ["aleph:callOffer"], since: 10 }]);
    await client.close();
  });
});

describe("a lost link", () => {
  it("fails what is in flight and resumes after the last event seen (I03)", async () => {
    const { sidecar, client } = await opened();
    sidecar.event("aleph:callOffer", { callId: "c1" });
    await settled();
    const lost = next<{ error: Error }>((callback) => client.on("lost", callback));
    const resumed = next((callback) => client.on("resumed", callback));
    const call = client.call.watch({ callId: "c", userId: "u", offer: "" }).catch((error: unknown) => error);
    sidecar.link.breakDown(new LostRemoteError("gone"));
    assert.equal((await lost).error.message, "gone");
    assert.ok((await call) instanceof SidecarError);
    assert.ok(!client.connected);
    await assert.rejects(client.call.get({ callId: "c" }), LostRemoteError);
    await resumed;
    await settled();
    assert.equal(sidecar.subscribedSince(1), 11);
    assert.deepEqual(await client.call.get({ callId: "c" }), { callId: "c" });
    await client.close();
  });

  it("to a new process is told as restarted, with its own numbers", async () => {
    const { sidecar, client } = await opened();
    const restarted = next<{ hello: { seq: number } }>((callback) => client.on("restarted", callback));
    sidecar.generation = 2;
    sidecar.seq = 90;
    sidecar.link.breakDown(new LostRemoteError("gone"));
    assert.equal((await restarted).hello.seq, 90);
    await settled();
    assert.equal(sidecar.subscribedSince(1), 90);
    await client.close();
  });

  it("whose numbers went back is a restart too", async () => {
    const { sidecar, client } = await opened();
    const restarted = next((callback) => client.on("restarted", callback));
    sidecar.seq = 3;
    sidecar.link.breakDown(new LostRemoteError("gone"));
    await restarted;
    await settled();
    assert.equal(sidecar.subscribedSince(1), 3);
    await client.close();
  });

  it("that can never come back closes the client with the reason", async () => {
    const { sidecar, client } = await opened();
    const closed = next<{ error?: Error }>((callback) => client.on("closed", callback));
    sidecar.dial = () => Promise.reject(new SidecarError("client.spawn-failed", "it ended"));
    sidecar.link.breakDown(new LostRemoteError("gone"));
    assert.equal((await closed).error?.message, "it ended");
    await assert.rejects(client.call.get({ callId: "c" }), ClosedError);
  });

  it("is not looked for after close", async () => {
    const { sidecar, client } = await opened();
    sidecar.link.breakDown(new LostRemoteError("gone"));
    await settled();
    await client.close();
    assert.equal(sidecar.connections.length, 1);
  });
});
