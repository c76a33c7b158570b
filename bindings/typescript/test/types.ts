/** Checked by tsc alone: the typed surface takes what the schema takes and nothing else. */
import type { Client } from "../src/client.js";
import type { CallSession, EventsItem } from "../src/generated/index.js";

export async function accepted(client: Client): Promise<void> {
  const session: CallSession = await client.invoke("call:initiate", { userId: "u", type: "video" });
  const same: CallSession = await client.call.initiate({ userId: "u", type: "audio" }, { timeoutMs: 5 });
  const list: CallSession[] = await client.invoke("call:list-active");
  const muted: { muted: boolean } = await client.call.muteAudio({ callId: session.id, muted: same.recording });
  await client.media.getDevices();
  await client.media.getScreenSources();
  await client.system.hello({ client: `${list.length} ${String(muted.muted)}` });
  for await (const item of client.stream("events", { since: 1 })) {
    const typed: EventsItem = item;
    if ("gap" in typed) break;
  }
  for await (const frame of client.call.watchFrames({ callId: "c", userId: "u", track: "video" })) {
    frame.width.toFixed();
  }
  client.on("aleph:callOffer", (offer) => offer.fromDisplayName.length);
  client.on("gap", ({ missed }) => missed.toFixed());
}

export async function refused(client: Client): Promise<void> {
  // @ts-expect-error no such channel
  await client.invoke("call:nonsense", {});
  // @ts-expect-error params are needed
  await client.invoke("call:initiate");
  // @ts-expect-error a member is missing
  await client.call.initiate({ userId: "u" });
  // @ts-expect-error no such value
  await client.call.initiate({ userId: "u", type: "smell" });
  // @ts-expect-error no such member
  await client.call.initiate({ userId: "u", type: "audio", colour: "red" });
  // @ts-expect-error a stream is not invoked
  await client.invoke("events");
  // @ts-expect-error and a plain channel not streamed
  client.stream("call:get", { callId: "c" });
  // @ts-expect-error no such event
  client.on("aleph:nonsense", () => undefined);
}
