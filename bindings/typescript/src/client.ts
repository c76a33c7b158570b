/** The client of one sidecar: typed channels, events that survive a reconnect, notices of what happened to the link. */
import {
  namespaces,
  type Invoker,
  type EventName,
  type InvokeArgs,
  type InvokeChannel,
  type Namespaces,
  type Result,
  type StreamArgs,
  type StreamChannel,
} from "./api.js";
import { ClosedError, LostRemoteError, SidecarError } from "./errors.js";
import { PROTOCOL, type AlephNetEvents, type EventsItem, type Hello, type MediaOwner } from "./generated/index.js";
import { RpcClient, type CallOptions, type RpcOptions, type StreamOptions } from "./rpc.js";
import type { RpcStream } from "./stream.js";
import type { Dialer } from "./transport.js";

export interface ClientOptions extends RpcOptions {
  /** From the `clients` list of the sidecar's configuration, where it has one. */
  token?: string;
  /** Name and version of the front end, for the sidecar's log. */
  client?: string;
  /** Who sends and receives media in calls of this client, unless a call says otherwise. Default "sidecar". */
  mediaOwner?: MediaOwner;
  /** The events to receive; all by default. */
  events?: readonly EventName[];
  /** How long the first answer may take, in milliseconds. Default 5000; of a spawned sidecar `readyTimeoutMs`. */
  connectTimeoutMs?: number;
}

/** What a client tells about itself, beside the sidecar's events. */
export interface Notices {
  /** Events were dropped because this side read too slowly, or was away for too long: read the state again. */
  gap: { missed: number };
  /** The link is down; calls of this client fail until `resumed` or `restarted`. */
  lost: { error: Error };
  /** The link is back; the events in between were delivered. */
  resumed: { hello: Hello };
  /** The link is back but the sidecar is a new process: its calls are those in `hello`. */
  restarted: { hello: Hello };
  /** Nothing will come any more; `error` is absent after `close()`. */
  closed: { error?: Error };
}

/** The methods of a client beside those of its namespaces. */
export interface ClientMethods {
  /** What the sidecar said when this connection began: its identity, features and the calls alive then. */
  readonly hello: Hello;
  /** False between `lost` and `resumed` or `restarted`, when every call fails. */
  readonly connected: boolean;
  /** The process id of a spawned sidecar; changes with a restart. */
  readonly pid: number | undefined;
  /** Calls a channel. Rejects with SidecarError or one of its client-side kin. */
  invoke<C extends InvokeChannel>(channel: C, ...args: InvokeArgs<C>): Promise<Result<C>>;
  /** Reads a streaming channel; leaving the loop ends it at the sidecar. */
  stream<C extends StreamChannel>(channel: C, ...args: StreamArgs<C>): AsyncIterableIterator<Result<C>>;
  /** Hears an event of the sidecar or a notice of this client; returns the function that ends it. */
  on<E extends EventName>(event: E, listener: (data: AlephNetEvents[E]) => void): () => void;
  on<N extends keyof Notices>(notice: N, listener: (data: Notices[N]) => void): () => void;
  /** Ends the connection and, if this client spawned it, the sidecar. */
  close(): Promise<void>;
}

export type Client = ClientMethods & Namespaces;

/** A connected client over any dialer; `connect` and `spawnSidecar` are the usual ways in. */
export async function openClient(dialer: Dialer, options: ClientOptions = {}): Promise<Client> {
  const core = new ClientCore(dialer, options);
  await core.open();
  return Object.assign(core, namespaces(core as unknown as Invoker));
}

type Listener = (data: never) => void;

const RETRY_FIRST_MS = 100;
const RETRY_LAST_MS = 5000;

class ClientCore implements ClientMethods {
  private readonly listeners = new Map<string, Set<Listener>>();
  private rpc: RpcClient | undefined;
  private greeting: Hello | undefined;
  private lastSeq = 0;
  private generation = 0;
  private ended = false;
  private cancelRetry: (() => void) | undefined;

  constructor(
    private readonly dialer: Dialer,
    private readonly options: ClientOptions,
  ) {}

  get hello(): Hello {
    if (!this.greeting) throw new LostRemoteError("not connected yet");
    return this.greeting;
  }

  get connected(): boolean {
    return this.rpc !== undefined;
  }

  get pid(): number | undefined {
    return this.dialer.pid;
  }

  async invoke<C extends InvokeChannel>(channel: C, ...args: InvokeArgs<C>): Promise<Result<C>> {
    const [params, options] = args as [unknown, CallOptions | undefined];
    return this.link().call<Result<C>>(channel, [params ?? null], options);
  }

  stream<C extends StreamChannel>(channel: C, ...args: StreamArgs<C>): RpcStream<Result<C>> {
    const [params, options] = args as [unknown, StreamOptions | undefined];
    return this.link().stream<Result<C>>(channel, [params ?? null], options);
  }

  on(name: string, listener: Listener): () => void {
    const set = this.listeners.get(name) ?? new Set();
    this.listeners.set(name, set);
    // A wrapper of its own: the same function may be registered twice and each registration ends alone.
    const registered: Listener = (data) => listener(data);
    set.add(registered);
    return () => void set.delete(registered);
  }

  async close(): Promise<void> {
    this.end();
    await this.dialer.close();
  }

  /** The first connection; its failure is the caller's. */
  async open(): Promise<void> {
    try {
      void this.follow(await this.greet());
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  private link(): RpcClient {
    if (this.rpc) return this.rpc;
    throw this.ended ? new ClosedError() : new LostRemoteError("not connected; a new connection is being made");
  }

  /** Connects, says hello and subscribes, in this order, so that no event after the snapshot is missed. */
  private async greet(): Promise<RpcStream<EventsItem>> {
    const { token, client, mediaOwner, events, connectTimeoutMs = 5000 } = this.options;
    const rpc = new RpcClient(await this.dialer.dial(), this.options);
    try {
      const params = { token, client, mediaOwner };
      const hello = await rpc.call<Hello>("system:hello", [params], { timeoutMs: connectTimeoutMs });
      if (this.ended) throw new ClosedError();
      if (hello.protocol !== PROTOCOL) {
        throw new SidecarError("client.protocol", `the sidecar speaks protocol ${hello.protocol}, not ${PROTOCOL}`);
      }
      this.onHello(hello);
      this.rpc = rpc;
      return rpc.stream<EventsItem>("events", [{ types: events, since: this.lastSeq }]);
    } catch (error) {
      rpc.close();
      throw error;
    }
  }

  private onHello(hello: Hello): void {
    const first = this.greeting === undefined;
    const restarted = this.dialer.generation !== this.generation || hello.seq < this.lastSeq;
    this.generation = this.dialer.generation;
    this.greeting = hello;
    if (first || restarted) this.lastSeq = hello.seq;
    // Told once the link is usable and before the first event of the new connection.
    if (!first) queueMicrotask(() => this.emit(restarted ? "restarted" : "resumed", { hello }));
  }

  private async follow(events: RpcStream<EventsItem>): Promise<void> {
    for (let stream: RpcStream<EventsItem> | undefined = events; stream; stream = await this.regain()) {
      const error = await this.deliver(stream);
      if (this.ended) return;
      this.rpc?.close(error);
      this.rpc = undefined;
      this.emit("lost", { error });
    }
  }

  /** Dispatches events until the stream breaks, and says why it did. */
  private async deliver(stream: RpcStream<EventsItem>): Promise<Error> {
    try {
      for await (const item of stream) {
        if ("gap" in item) {
          this.emit("gap", { missed: item.gap });
        } else {
          this.lastSeq = item.seq;
          this.emit(item.event, item.data);
        }
      }
      return new LostRemoteError("the sidecar ended the events");
    } catch (error) {
      return error as Error;
    }
  }

  /** Tries until there is a connection again; undefined when there never will be one. */
  private async regain(): Promise<RpcStream<EventsItem> | undefined> {
    for (let delay = RETRY_FIRST_MS; !this.ended; delay = Math.min(delay * 2, RETRY_LAST_MS)) {
      await this.pause(delay);
      if (this.ended) break;
      try {
        return await this.greet();
      } catch (error) {
        if (!transient(error)) this.end(error as Error);
      }
    }
    return undefined;
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.cancelRetry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private end(error?: Error): void {
    if (this.ended) return;
    this.ended = true;
    this.cancelRetry?.();
    this.rpc?.close();
    this.rpc = undefined;
    this.emit("closed", error ? { error } : {});
  }

  private emit(name: string, data: unknown): void {
    for (const listener of [...(this.listeners.get(name) ?? [])]) {
      try {
        listener(data as never);
      } catch (error) {
        // A listener's mistake is its owner's: as loud as from an EventEmitter, but the other listeners run.
        setTimeout(() => {
          throw error;
        });
      }
    }
  }
}

const TRANSIENT = new Set(["client.timeout", "client.lost-remote", "client.refused", "policy.rate-limited"]);

function transient(error: unknown): boolean {
  return error instanceof SidecarError && TRANSIENT.has(error.code);
}
