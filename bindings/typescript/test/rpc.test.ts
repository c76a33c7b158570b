import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AbortError, ClosedError, LostRemoteError, SidecarError, TimeoutError } from "../src/errors.js";
import { RpcClient } from "../src/rpc.js";
import { FakeTransport } from "./fake-transport.js";
import type { Request } from "./server-wire.js";

const FAST = { heartbeatMs: 20, timeoutMs: 0 };

function echo(request: Request, transport: FakeTransport): void {
  if (request.responseTo === undefined) transport.reply(request.id, "OK", [request.args]);
}

describe("call", () => {
  it("resolves with the result", async () => {
    const rpc = new RpcClient(new FakeTransport(echo));
    assert.deepEqual(await rpc.call("echo", [1, "two"]), [1, "two"]);
    rpc.close();
  });

  it("keeps many apart", async () => {
    const rpc = new RpcClient(new FakeTransport(echo));
    const answers = await Promise.all(Array.from({ length: 200 }, (_unused, n) => rpc.call("echo", [n])));
    assert.deepEqual(answers, Array.from({ length: 200 }, (_unused, n) => [n]));
    rpc.close();
  });

  it("rejects with the coded error", async () => {
    const transport = new FakeTransport(({ id }) => transport.reply(id, "ERR", ["call.not-found", "no such call", ""]));
    const rpc = new RpcClient(transport);
    await assert.rejects(rpc.call("call:get"), (error: unknown) => {
      assert.ok(error instanceof SidecarError);
      return error.code === "call.not-found" && error.message === "no such call";
    });
    rpc.close();
  });

  it("times out and cancels", async () => {
    const transport = new FakeTransport();
    const rpc = new RpcClient(transport);
    await assert.rejects(rpc.call("slow", [], { timeoutMs: 5 }), TimeoutError);
    assert.equal(transport.named("_zpc_cancel").length, 1);
    rpc.close();
  });

  it("aborts and cancels", async () => {
    const transport = new FakeTransport();
    const rpc = new RpcClient(transport);
    const controller = new AbortController();
    const call = rpc.call("slow", [], { signal: controller.signal });
    controller.abort();
    await assert.rejects(call, AbortError);
    assert.equal(transport.named("_zpc_cancel").length, 1);
    rpc.close();
  });

  it("sends nothing when it was aborted before", async () => {
    const transport = new FakeTransport();
    const rpc = new RpcClient(transport);
    await assert.rejects(rpc.call("slow", [], { signal: AbortSignal.abort() }), AbortError);
    assert.deepEqual(transport.sent, []);
    rpc.close();
  });

  it("is lost after two silent heartbeats", async () => {
    const rpc = new RpcClient(new FakeTransport(), FAST);
    await assert.rejects(rpc.call("slow"), LostRemoteError);
    rpc.close();
  });

  it("lives on heartbeats", async () => {
    let beats = 0;
    const transport = new FakeTransport(({ id, name, responseTo }) => {
      if (name !== "_zpc_hb" || responseTo === undefined) return;
      beats += 1;
      if (beats < 5) transport.reply(responseTo, "_zpc_hb", [0]);
      else transport.reply(responseTo, "OK", [id.length > 0]);
    });
    const rpc = new RpcClient(transport, FAST);
    assert.equal(await rpc.call("slow"), true);
    rpc.close();
  });

  it("fails with the transport, and so does every later one", async () => {
    const transport = new FakeTransport();
    const rpc = new RpcClient(transport);
    const calls = [rpc.call("a"), rpc.call("b")];
    transport.breakDown(new LostRemoteError("gone"));
    for (const call of calls) await assert.rejects(call, LostRemoteError);
    await assert.rejects(rpc.call("c"), LostRemoteError);
    assert.ok(transport.closed);
  });

  it("fails when the client is closed", async () => {
    const rpc = new RpcClient(new FakeTransport());
    const call = rpc.call("a");
    rpc.close();
    await assert.rejects(call, ClosedError);
  });

  it("rejects arguments that cannot be sent", async () => {
    const rpc = new RpcClient(new FakeTransport());
    await assert.rejects(rpc.call("a", [() => 1]));
    rpc.close();
  });
});

/** Sends `count` numbers as credits allow, then the end. */
function counter(count: number): FakeTransport {
  let credit = 1;
  let next = 0;
  let stream = "";
  return new FakeTransport(({ id, name, args, responseTo }, transport) => {
    if (responseTo === undefined) stream = id;
    if (name === "_zpc_more") credit += (args as number[])[0] ?? 0;
    for (; credit > 0 && next < count; credit -= 1, next += 1) transport.reply(stream, "STREAM", next);
    if (next === count && credit > 0) transport.reply(stream, "STREAM_DONE", null);
  });
}

describe("stream", () => {
  it("delivers everything in order", async () => {
    const rpc = new RpcClient(counter(1000), { window: 16 });
    const seen: unknown[] = [];
    for await (const item of rpc.stream("count")) seen.push(item);
    assert.deepEqual(seen, Array.from({ length: 1000 }, (_unused, n) => n));
    rpc.close();
  });

  it("grants nothing while nobody reads", async () => {
    const transport = counter(1000);
    const rpc = new RpcClient(transport, { window: 16 });
    const stream = rpc.stream("count");
    await stream.next();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(transport.named("_zpc_more").length, 1);
    rpc.close();
  });

  it("cancels when the reader leaves", async () => {
    const transport = counter(1000);
    const rpc = new RpcClient(transport);
    for await (const item of rpc.stream<number>("count")) if (item === 3) break;
    assert.equal(transport.named("_zpc_cancel").length, 1);
    rpc.close();
  });

  it("hands over what came before an error, then the error, then the end", async () => {
    const transport = new FakeTransport(({ id }) => {
      transport.reply(id, "STREAM", "first");
      transport.reply(id, "ERR", ["internal", "broken", ""]);
    });
    const rpc = new RpcClient(transport);
    const stream = rpc.stream("m");
    assert.deepEqual(await stream.next(), { value: "first", done: false });
    await assert.rejects(stream.next(), { code: "internal" });
    assert.equal((await stream.next()).done, true);
    rpc.close();
  });

  it("ends with AbortError", async () => {
    const transport = new FakeTransport();
    const rpc = new RpcClient(transport);
    const controller = new AbortController();
    const next = rpc.stream("m", [], { signal: controller.signal }).next();
    controller.abort();
    await assert.rejects(next, AbortError);
    rpc.close();
  });
});
