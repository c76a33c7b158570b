/** The main process's side: answers the page's calls and hands it the events. */
import { EVENTS, type Client, type EventName, type Notices } from "@alephnet/sidecar/core";
import { wrapError, type Envelope } from "./envelope.js";
import { NOTICE_CHANNEL, PAGE_CHANNELS } from "./names.js";

/** The parts of Electron this needs; `require("electron")` is one, of any version since 9. */
export interface ElectronLike {
  ipcMain: {
    handle(channel: string, handler: (event: InvokeEvent, ...args: unknown[]) => unknown): void;
    removeHandler(channel: string): void;
  };
  webContents: { getAllWebContents(): PageLike[] };
}

export interface PageLike {
  isDestroyed(): boolean;
  getURL(): string;
  send(channel: string, ...args: unknown[]): void;
}

export interface InvokeEvent {
  sender: { getURL(): string };
  /** Absent before Electron 17, null when the frame is gone. */
  senderFrame?: { url: string } | null;
}

/** The parts of a client this needs. */
export interface ClientLike {
  invoke(channel: string, params: unknown): Promise<unknown>;
  on(name: string, listener: (data: never) => void): () => void;
}

export interface AttachOptions {
  /** Whether a page at this address may make calls and hear of them; no page may by default. */
  isTrusted(url: string): boolean;
}

const UNTRUSTED: Envelope = { error: { code: "policy.permission-missing", message: "this page is not trusted" } };
const NOTICES: readonly (keyof Notices)[] = ["gap", "lost", "resumed", "restarted", "closed"];

/** Connects the pages of this application with the sidecar; the returned function undoes it. */
export function attach(electron: ElectronLike, client: Client, options: AttachOptions): () => void {
  return attachTo(electron, client as unknown as ClientLike, options);
}

export function attachTo(electron: ElectronLike, client: ClientLike, { isTrusted }: AttachOptions): () => void {
  const { ipcMain, webContents } = electron;
  const broadcast = (channel: string, data: unknown): void => {
    for (const page of webContents.getAllWebContents()) {
      if (!page.isDestroyed() && isTrusted(page.getURL())) page.send(channel, data);
    }
  };

  for (const [, channel] of PAGE_CHANNELS) {
    ipcMain.handle(channel, async (event, params): Promise<Envelope> => {
      try {
        if (!isTrusted(senderUrl(event))) return UNTRUSTED;
        return { value: await client.invoke(channel, params) };
      } catch (error) {
        return wrapError(error);
      }
    });
  }
  const subscriptions = [
    ...(Object.keys(EVENTS) as EventName[]).map((name) => client.on(name, (data) => broadcast(name, data))),
    ...NOTICES.map((notice) => client.on(notice, (data) => broadcast(NOTICE_CHANNEL, plainNotice(notice, data)))),
  ];
  return () => {
    for (const end of subscriptions) end();
    for (const [, channel] of PAGE_CHANNELS) ipcMain.removeHandler(channel);
  };
}

/** The address of the frame that called, not of the page around it, where Electron tells it. */
function senderUrl({ sender, senderFrame }: InvokeEvent): string {
  if (senderFrame === undefined) return sender.getURL();
  return senderFrame?.url ?? "";
}

function plainNotice(notice: string, data: { error?: Error; missed?: number }): object {
  const { error, ...rest } = data;
  return error ? { notice, ...wrapError(error) } : { notice, ...rest };
}
