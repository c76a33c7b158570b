/** What a page may reach: the allow-list both processes keep to, made from the generated tables. */
import { CHANNELS, EVENTS, type EventName, type InvokeChannel } from "@alephnet/sidecar/core";

/** The main process alone greets, ends the sidecar, hands out addresses and tells who the friends are. */
const MAIN_ONLY = ["system:hello", "system:shutdown", "system:web-url", "social:sync"] as const;

export type PageChannel = Exclude<InvokeChannel, (typeof MAIN_ONLY)[number]>;

/** One page channel carries what the client tells about itself. */
export const NOTICE_CHANNEL = "aleph:sidecar";

const mainOnly: ReadonlySet<string> = new Set(MAIN_ONLY);

/** AlephNet's names for the page, such as callMuteAudio, and their channels; a stream has no place here. */
export const PAGE_CHANNELS = Object.entries(CHANNELS)
  .filter(([name, { stream }]) => !stream && !mainOnly.has(name))
  .map(([name, { preload }]) => [preload, name as PageChannel] as const);

/** AlephNet's names for listeners, such as onCallOffer, and their events. */
export const PAGE_EVENTS = Object.entries(EVENTS).map(([name, { preload }]) => [preload, name as EventName] as const);
