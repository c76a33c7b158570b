import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CHANNELS, EVENTS, LostRemoteError, SidecarError } from "@alephnet/sidecar/core";
import { alephApi, type AlephApi } from "../src/api.js";
import { attachTo } from "../src/attach.js";
import { FakeClient, FakeElectron, FakePage } from "./fakes.js";

const HOME = "file:///app/index.html";

interface Setting {
  electron: FakeElectron;
  client: FakeClient;
  page: FakePage;
  api: AlephApi;
  detach: () => void;
}

function setting(frame?: { url: string } | null): Setting {
  const electron = new FakeElectron();
  const client = new FakeClient();
  const page = new FakePage(electron, HOME, frame);
  const detach = attachTo(electron, client, { isTrusted: (url) => url === HOME });
  return { electron, client, page, api: alephApi(page.ipcRenderer), detach };
}

describe("the page's API", () => {
  it("has AlephNet's name for every channel but streams and those of the main process", () => {
    const { api } = setting();
    const left = ["systemHello", "systemShutdown", "systemWebUrl", "socialSync", "callWatchFrames", "events"];
    const expected = [...Object.values(CHANNELS), ...Object.values(EVENTS)]
      .map(({ preload }) => preload as string)
      .filter((name) => !left.includes(name));
    assert.deepEqual(Object.keys(api).sort(), ["onSidecar", ...expected].sort());
    for (const name of ["callInitiate", "callMuteAudio", "rtcSendIce", "mediaGetDevices", "onCallOffer"]) {
      assert.ok(name in api, name);
    }
  });

  it("calls through to the client", async () => {
    const { client, api } = setting();
    client.answer = () => ({ muted: true });
    assert.deepEqual(await api.callMuteAudio({ callId: "c", muted: true }), { muted: true });
    await api.callListActive();
    assert.deepEqual(client.invoked, [
      ["call:mute-audio", { callId: "c", muted: true }],
      ["call:list-active", undefined],
    ]);
  });

  it("rejects with the code, message and details, which Electron would drop from an Error", async () => {
    const { client, api } = setting();
    client.answer = () => {
      throw new SidecarError("call.not-found", "no such call", { callId: "c" });
    };
    await assert.rejects(api.callGet({ callId: "c" }), (error: unknown) => {
      assert.deepEqual(error, { code: "call.not-found", message: "no such call", details: { callId: "c" } });
      return true;
    });
  });

  it("calls a listener with (event, data), where event leads nowhere, until it is ended", () => {
    const { client, api } = setting();
    const heard: unknown[][] = [];
    const off = api.onCallOffer((...args) => heard.push(args));
    client.emit("aleph:callOffer", { callId: "c1" });
    off();
    client.emit("aleph:callOffer", { callId: "c2" });
    assert.deepEqual(heard, [[{ channel: "aleph:callOffer" }, { callId: "c1" }]]);
  });

  it("tells what became of the link", () => {
    const { client, api } = setting();
    const heard: unknown[] = [];
    api.onSidecar((_event, notice) => heard.push(notice));
    client.emit("lost", { error: new LostRemoteError("gone") });
    client.emit("gap", { missed: 3 });
    client.emit("restarted", { hello: { seq: 1 } });
    client.emit("closed", {});
    assert.deepEqual(heard, [
      { notice: "lost", error: { code: "client.lost-remote", message: "gone" } },
      { notice: "gap", missed: 3 },
      { notice: "restarted", hello: { seq: 1 } },
      { notice: "closed" },
    ]);
  });
});

describe("trust", () => {
  const denied = { code: "policy.permission-missing", message: "this page is not trusted" };

  it("refuses calls of a page that went elsewhere, and tells it nothing", async () => {
    const { client, page, api } = setting();
    const heard: unknown[] = [];
    api.onCallOffer((_event, offer) => heard.push(offer));
    page.url = "https://elsewhere.example/";
    await assert.rejects(api.callListActive(), (error: unknown) => (assert.deepEqual(error, denied), true));
    client.emit("aleph:callOffer", { callId: "c" });
    assert.deepEqual([client.invoked, heard], [[], []]);
  });

  it("asks about the frame, not the page around it", async () => {
    const { api } = setting({ url: "https://advert.example/" });
    await assert.rejects(api.callListActive(), (error: unknown) => (assert.deepEqual(error, denied), true));
  });

  it("refuses a frame that is gone", async () => {
    const { api } = setting(null);
    await assert.rejects(api.callListActive(), (error: unknown) => (assert.deepEqual(error, denied), true));
  });

  it("skips pages that are being destroyed", () => {
    const { client, page, api } = setting();
    const heard: unknown[] = [];
    api.onCallOffer((_event, offer) => heard.push(offer));
    page.destroyed = true;
    client.emit("aleph:callOffer", { callId: "c" });
    assert.deepEqual(heard, []);
  });
});

describe("detaching", () => {
  it("leaves no handler and no subscription", () => {
    const { electron, client, detach } = setting();
    assert.ok(electron.handlers.size > 30 && client.subscriptions > 20);
    detach();
    assert.deepEqual([electron.handlers.size, client.subscriptions], [0, 0]);
  });

  it("lets another client be attached", () => {
    const { electron, detach } = setting();
    detach();
    attachTo(electron, new FakeClient(), { isTrusted: () => true })();
  });
});
