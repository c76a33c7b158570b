import type { ClientLike, ElectronLike, InvokeEvent } from "../src/attach.js";
import type { IpcRendererLike } from "../src/api.js";

type Handler = (event: InvokeEvent, ...args: unknown[]) => unknown;
type Listener = (event: unknown, ...args: unknown[]) => void;

/** One page and its main process, joined by structured clones as in Electron. */
export class FakePage {
  readonly listeners = new Map<string, Set<Listener>>();
  destroyed = false;

  constructor(
    private readonly electron: FakeElectron,
    public url: string,
    private readonly frame?: { url: string } | null,
  ) {
    electron.pages.push(this);
  }

  isDestroyed(): boolean {
    return this.destroyed;
  }

  getURL(): string {
    return this.url;
  }

  send(channel: string, data: unknown): void {
    for (const listener of this.listeners.get(channel) ?? []) listener({ sender: this }, structuredClone(data));
  }

  get ipcRenderer(): IpcRendererLike {
    return {
      invoke: async (channel, ...args) => {
        const handler = this.electron.handlers.get(channel);
        if (!handler) throw new Error(`No handler registered for '${channel}'`);
        const event = this.frame === undefined ? { sender: this } : { sender: this, senderFrame: this.frame };
        return structuredClone(await handler(event, ...(structuredClone(args) as unknown[])));
      },
      on: (channel, listener) => {
        const set = this.listeners.get(channel) ?? new Set();
        this.listeners.set(channel, set.add(listener));
      },
      removeListener: (channel, listener) => this.listeners.get(channel)?.delete(listener),
    };
  }
}

export class FakeElectron implements ElectronLike {
  readonly handlers = new Map<string, Handler>();
  readonly pages: FakePage[] = [];
  readonly ipcMain = {
    handle: (channel: string, handler: Handler): void => {
      if (this.handlers.has(channel)) throw new Error(`Attempted to register a second handler for '${channel}'`);
      this.handlers.set(channel, handler);
    },
    removeHandler: (channel: string): void => void this.handlers.delete(channel),
  };
  readonly webContents = { getAllWebContents: (): FakePage[] => this.pages };
}

export class FakeClient implements ClientLike {
  readonly invoked: [string, unknown][] = [];
  readonly listeners = new Map<string, Set<(data: never) => void>>();
  answer: (channel: string, params: unknown) => unknown = () => null;

  async invoke(channel: string, params: unknown): Promise<unknown> {
    this.invoked.push([channel, params]);
    return this.answer(channel, params);
  }

  on(name: string, listener: (data: never) => void): () => void {
    const set = this.listeners.get(name) ?? new Set();
    this.listeners.set(name, set.add(listener));
    return () => void set.delete(listener);
  }

  emit(name: string, data: unknown): void {
    for (const listener of this.listeners.get(name) ?? []) listener(data as never);
  }

  get subscriptions(): number {
    return [...this.listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }
}
