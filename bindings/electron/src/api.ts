/** The page's side, for a preload script: one function per channel and event, under AlephNet's names. */
import type {
  AlephNetEvents,
  CHANNELS,
  EventName,
  EVENTS,
  Hello,
  Params,
  Result,
  WireError,
} from "@alephnet/sidecar/core";
import { unwrap, type Envelope } from "./envelope.js";
import { NOTICE_CHANNEL, PAGE_CHANNELS, PAGE_EVENTS, type PageChannel } from "./names.js";

/** The parts of Electron's ipcRenderer this needs. */
export interface IpcRendererLike {
  invoke(channel: string, ...args: unknown[]): Promise<unknown>;
  on(channel: string, listener: IpcListener): unknown;
  removeListener(channel: string, listener: IpcListener): unknown;
}

type IpcListener = (event: unknown, ...args: unknown[]) => void;

/** Stands where Electron's own event would, which must not reach a page because it leads back to ipcRenderer. */
export interface PageEvent {
  channel: string;
}

type Callback<D> = (event: PageEvent, data: D) => void;
type Listener<D> = (callback: Callback<D>) => () => void;

/** What became of the link to the sidecar; after `restarted` read the calls again. */
export type SidecarNotice =
  | { notice: "lost"; error: WireError }
  | { notice: "resumed" | "restarted"; hello: Hello }
  | { notice: "gap"; missed: number }
  | { notice: "closed"; error?: WireError };

type PageArgs<P> = [P] extends [void] ? [] : Record<never, never> extends P ? [params?: P] : [params: P];

export type AlephApi = {
  readonly [C in PageChannel as (typeof CHANNELS)[C]["preload"]]: (...args: PageArgs<Params<C>>) => Promise<Result<C>>;
} & {
  readonly [E in EventName as (typeof EVENTS)[E]["preload"]]: Listener<AlephNetEvents[E]>;
} & { readonly onSidecar: Listener<SidecarNotice> };

/**
 * The functions to expose with contextBridge. A call rejects with a plain `{code, message, details?}`; a listener is
 * called with `(event, data)` and registering one returns the function that ends it.
 */
export function alephApi(ipcRenderer: IpcRendererLike): AlephApi {
  const listen = (channel: string) => (callback: Callback<never>) => {
    const heard: IpcListener = (_event, data) => callback({ channel }, data as never);
    ipcRenderer.on(channel, heard);
    return () => void ipcRenderer.removeListener(channel, heard);
  };
  const api: Record<string, unknown> = { onSidecar: listen(NOTICE_CHANNEL) };
  for (const [name, channel] of PAGE_CHANNELS) {
    api[name] = async (params?: unknown) => unwrap((await ipcRenderer.invoke(channel, params)) as Envelope);
  }
  for (const [name, event] of PAGE_EVENTS) api[name] = listen(event);
  return api as AlephApi;
}
