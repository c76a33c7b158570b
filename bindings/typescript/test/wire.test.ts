import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encode } from "@msgpack/msgpack";
import { ClientWire, TICKS_PER_HEARTBEAT } from "../src/wire.js";
import { readRequest, reply, replyWithBytesId, type Request } from "./server-wire.js";

function wire(window = 8): ClientWire {
  return new ClientWire({ idPrefix: "test-", window });
}

function sent(client: ClientWire): Request[] {
  return client.drain().map(readRequest);
}

describe("calls", () => {
  it("sends one request and reads one result", () => {
    const client = wire();
    const id = client.open("call:get", [{ callId: "c1" }], false);
    assert.deepEqual(sent(client), [{ id, responseTo: undefined, name: "call:get", args: [{ callId: "c1" }] }]);
    assert.deepEqual(client.receive(reply(id, "OK", [{ state: "active" }])), [
      { kind: "result", id, value: { state: "active" } },
    ]);
    assert.equal(client.openChannels, 0);
  });

  it("knows an id that came back as bytes", () => {
    const client = wire();
    const id = client.open("m", [], false);
    assert.deepEqual(client.receive(replyWithBytesId(id, "OK", [1])), [{ kind: "result", id, value: 1 }]);
  });

  it("leaves undefined members out", () => {
    const client = wire();
    client.open("m", [{ a: undefined, b: 1 }], false);
    assert.deepEqual(sent(client)[0]?.args, [{ b: 1 }]);
  });

  it("gives a coded error its details", () => {
    const client = wire();
    const id = client.open("m", [], false);
    const json = JSON.stringify({ code: "internal", message: "bug", details: { id: "e1" } });
    const [answer] = client.receive(reply(id, "ERR", ["internal", "bug", json]));
    assert.ok(answer?.kind === "error");
    assert.deepEqual(answer.error.toJSON(), { code: "internal", message: "bug", details: { id: "e1" } });
  });

  it("drops the traceback of a foreign server", () => {
    const client = wire();
    const id = client.open("m", [], false);
    const [answer] = client.receive(reply(id, "ERR", ["ValueError", "no", "Traceback (most recent call last)"]));
    assert.ok(answer?.kind === "error");
    assert.deepEqual(answer.error.toJSON(), { code: "ValueError", message: "no" });
  });

  it("refuses a stream where a result was expected, and cancels it", () => {
    const client = wire();
    const id = client.open("m", [], false);
    sent(client);
    const [answer] = client.receive(reply(id, "STREAM", 1));
    assert.ok(answer?.kind === "error" && answer.error.code === "client.protocol");
    assert.deepEqual(sent(client).map(({ name, responseTo }) => [name, responseTo]), [["_zpc_cancel", id]]);
  });
});

describe("streams", () => {
  it("sends nothing before the first item, then grants by half windows", () => {
    const client = wire(8);
    const id = client.open("m", [], true);
    assert.equal(sent(client).length, 1);
    client.receive(reply(id, "STREAM", 0));
    assert.deepEqual(sent(client), []);
    client.consumed(id);
    assert.deepEqual(sent(client).map(({ name, args }) => [name, args]), [["_zpc_more", [8]]]);
    for (let n = 1; n <= 4; n += 1) {
      client.receive(reply(id, "STREAM", n));
      assert.deepEqual(sent(client), [], "unread items use up the window");
    }
    for (let n = 1; n <= 3; n += 1) client.consumed(id);
    assert.deepEqual(sent(client), []);
    client.consumed(id);
    assert.deepEqual(sent(client).map(({ args }) => args), [[4]]);
  });

  it("never lets more than a window be unread", () => {
    const client = wire(8);
    const id = client.open("m", [], true);
    client.receive(reply(id, "STREAM", 0));
    client.consumed(id);
    for (let n = 0; n < 8; n += 1) assert.equal(client.receive(reply(id, "STREAM", n))[0]?.kind, "item");
    const [answer] = client.receive(reply(id, "STREAM", 9));
    assert.ok(answer?.kind === "error" && answer.error.code === "client.protocol");
  });

  it("ends with STREAM_DONE and ignores what follows", () => {
    const client = wire();
    const id = client.open("m", [], true);
    assert.deepEqual(client.receive(reply(id, "STREAM_DONE", null)), [{ kind: "done", id }]);
    assert.deepEqual(client.receive(reply(id, "STREAM", 1)), []);
  });

  it("takes a plain result as a stream of one", () => {
    const client = wire();
    const id = client.open("m", [], true);
    assert.deepEqual(client.receive(reply(id, "OK", ["x"])).map(({ kind }) => kind), ["item", "done"]);
  });

  it("cancels once", () => {
    const client = wire();
    const id = client.open("m", [], true);
    client.cancel(id);
    client.cancel(id);
    assert.deepEqual(sent(client).map(({ name }) => name), ["m", "_zpc_cancel"]);
  });
});

describe("heartbeats", () => {
  const heartbeats = (client: ClientWire): number => sent(client).filter(({ name }) => name === "_zpc_hb").length;

  it("are sent once an interval on each open channel, also before the first reply", () => {
    const client = wire();
    client.open("a", [], false);
    client.open("b", [], true);
    for (let n = 0; n < TICKS_PER_HEARTBEAT; n += 1) client.tick();
    assert.equal(heartbeats(client), 2);
  });

  it("missing twice mean the peer is lost", () => {
    const client = wire();
    const id = client.open("a", [], false);
    const lost: string[] = [];
    for (let n = 0; n < 2 * TICKS_PER_HEARTBEAT + 1; n += 1) lost.push(...client.tick());
    assert.deepEqual(lost, []);
    assert.deepEqual(client.tick(), [id]);
    assert.equal(client.openChannels, 0);
  });

  it("keep a quiet channel alive", () => {
    const client = wire();
    const id = client.open("a", [], false);
    for (let n = 0; n < 10 * TICKS_PER_HEARTBEAT; n += 1) {
      assert.deepEqual(client.tick(), []);
      if (n % TICKS_PER_HEARTBEAT === 0) assert.deepEqual(client.receive(reply(id, "_zpc_hb", [0])), []);
    }
  });
});

describe("damaged input", () => {
  const cases: [string, Uint8Array][] = [
    ["nothing", new Uint8Array()],
    ["no msgpack", Uint8Array.from([0xc1])],
    ["a cut message", Uint8Array.from([0x93, 0x81])],
    ["no array", encode({ a: 1 })],
    ["two members", encode([{}, "OK"])],
    ["no headers", encode([null, "OK", [1]])],
    ["a number as id", encode([{ response_to: 5 }, "OK", [1]])],
    ["a number as name", encode([{ response_to: "test-1" }, 5, [1]])],
    ["an unknown channel", reply("other", "OK", [1])],
  ];
  for (const [name, data] of cases) {
    it(`ignores ${name}`, () => {
      const client = wire();
      client.open("a", [], false);
      assert.deepEqual(client.receive(data), []);
      assert.equal(client.openChannels, 1);
    });
  }
});
