/** Plain zerorpc calls and streams over any transport: promises, iterators, deadlines and aborts around the wire. */
import { AbortError, ClosedError, LostRemoteError, TimeoutError } from "./errors.js";
import { RpcStream } from "./stream.js";
import type { Transport } from "./transport.js";
import { ClientWire, TICKS_PER_HEARTBEAT, type Reply } from "./wire.js";

export interface RpcOptions {
  /** Interval of heartbeats in milliseconds; two missed ones mean the server is lost. Must match the server's: 5000. */
  heartbeatMs?: number;
  /** How long a call may take unless it says otherwise, in milliseconds; 0 waits for ever. Default 30000. */
  timeoutMs?: number;
  /** Items of one stream that may be unread or on their way. Default 128. */
  window?: number;
}

export interface CallOptions {
  timeoutMs?: number;
  /** Aborting rejects with AbortError and tells the sidecar to stop. */
  signal?: AbortSignal;
}

export interface StreamOptions {
  signal?: AbortSignal;
}

interface Sink {
  reply(reply: Reply): void;
  fail(error: Error): void;
}

export class RpcClient {
  private readonly wire: ClientWire;
  private readonly sinks = new Map<string, Sink>();
  private readonly heartbeatMs: number;
  private readonly timeoutMs: number;
  private timer: ReturnType<typeof setInterval> | undefined;
  private ended: Error | undefined;

  constructor(
    private readonly transport: Transport,
    options: RpcOptions = {},
  ) {
    this.heartbeatMs = options.heartbeatMs ?? 5000;
    this.timeoutMs = options.timeoutMs ?? 30_000;
    this.wire = new ClientWire({ idPrefix: randomPrefix(), window: options.window ?? 128 });
    transport.start({ message: (data) => this.onMessage(data), down: (error) => this.end(error) });
  }

  /** One request, one result. */
  call<T = unknown>(method: string, args: readonly unknown[] = [], options: CallOptions = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const { signal, timeoutMs = this.timeoutMs } = options;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const settle = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      const fail = (error: Error): void => {
        settle();
        reject(error);
      };
      const onAbort = (): void => this.drop(id, new AbortError());
      const id = this.open(method, args, false, signal, {
        fail,
        reply: (reply) => {
          if (reply.kind === "error") return fail(reply.error);
          settle();
          resolve((reply.kind === "result" ? reply.value : undefined) as T);
        },
      });
      signal?.addEventListener("abort", onAbort);
      if (timeoutMs > 0) {
        timer = setTimeout(() => this.drop(id, new TimeoutError(`${method}: no answer in ${timeoutMs} ms`)), timeoutMs);
      }
    });
  }

  /** A method that answers with a stream. It stops sending while nobody reads; leaving the loop cancels it. */
  stream<T = unknown>(method: string, args: readonly unknown[] = [], options: StreamOptions = {}): RpcStream<T> {
    const { signal } = options;
    const onAbort = (): void => this.drop(id, new AbortError());
    const stream = new RpcStream<T>({
      consumed: () => this.act(() => this.wire.consumed(id)),
      cancel: () => this.forget(id),
      ended: () => signal?.removeEventListener("abort", onAbort),
    });
    const id = this.open(method, args, true, signal, stream);
    signal?.addEventListener("abort", onAbort);
    return stream;
  }

  /** Fails everything in flight and leaves the transport. */
  close(error: Error = new ClosedError()): void {
    this.end(error);
  }

  private open(
    method: string,
    args: readonly unknown[],
    stream: boolean,
    signal: AbortSignal | undefined,
    sink: Sink,
  ): string {
    if (this.ended) throw this.ended;
    if (signal?.aborted) throw new AbortError();
    const id = this.wire.open(method, args, stream);
    this.sinks.set(id, sink);
    this.timer ??= setInterval(() => this.onTick(), this.heartbeatMs / TICKS_PER_HEARTBEAT);
    this.flush();
    return id;
  }

  private onMessage(data: Uint8Array): void {
    for (const reply of this.wire.receive(data)) {
      const sink = this.sinks.get(reply.id);
      if (reply.kind !== "item") this.sinks.delete(reply.id);
      sink?.reply(reply);
    }
    this.flush();
  }

  private onTick(): void {
    const lost = this.wire.tick();
    this.flush();
    for (const id of lost) this.drop(id, new LostRemoteError(`no heartbeat for ${2 * this.heartbeatMs} ms`));
    if (this.wire.openChannels === 0) this.stopTimer();
  }

  /** The caller no longer wants `id`, or the peer is silent. */
  private drop(id: string, error: Error): void {
    const sink = this.sinks.get(id);
    this.forget(id);
    sink?.fail(error);
  }

  private forget(id: string): void {
    this.sinks.delete(id);
    this.act(() => this.wire.cancel(id));
  }

  private act(change: () => void): void {
    if (this.ended) return;
    change();
    this.flush();
  }

  private flush(): void {
    for (const message of this.wire.drain()) this.transport.send(message);
  }

  private end(error: Error): void {
    if (this.ended) return;
    this.ended = error;
    this.stopTimer();
    this.transport.close();
    const sinks = [...this.sinks.values()];
    this.sinks.clear();
    for (const sink of sinks) sink.fail(error);
  }

  private stopTimer(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }
}

/** Needs to be unique, not secret. */
function randomPrefix(): string {
  const part = (): string => Math.random().toString(36).slice(2, 12);
  return `${part()}${part()}-`;
}
