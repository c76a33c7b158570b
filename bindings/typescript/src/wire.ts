/**
 * The client's half of zerorpc v3: message ids, credits, heartbeats.
 *
 * Pure: no socket, timer, clock or randomness. Feed it messages and ticks, send what `drain()` returns.
 * A message is msgpack `[headers, name, args]`. A channel begins with a request and is known by its message id;
 * every later message of either side names that id in `response_to`.
 *
 * Time is counted in ticks, TICKS_PER_HEARTBEAT to a heartbeat interval, so that a suspended machine or a blocked
 * event loop, which delays our ticks as well, never looks like a dead peer.
 */
import { decode, Encoder } from "@msgpack/msgpack";
import { errorFromReply, SidecarError } from "./errors.js";

export const TICKS_PER_HEARTBEAT = 4;
/** Two missed heartbeats, plus one tick because ours and theirs are not in step. */
const TICKS_TO_LOST = 2 * TICKS_PER_HEARTBEAT + 1;

const VERSION = 3;
const HEARTBEAT = "_zpc_hb";
const MORE = "_zpc_more";
const CANCEL = "_zpc_cancel";

export type Reply =
  | { kind: "result"; id: string; value: unknown }
  | { kind: "item"; id: string; value: unknown }
  | { kind: "done"; id: string }
  | { kind: "error"; id: string; error: SidecarError };

interface Channel {
  readonly stream: boolean;
  /** Items the server may still send; it starts with one. */
  credit: number;
  /** Items that were handed over and not consumed. */
  unread: number;
  silentTicks: number;
  sinceHeartbeat: number;
}

export interface WireOptions {
  /** Makes message ids unique among the clients of a server that keys its channels by message id alone. */
  idPrefix: string;
  /** Items of one stream that may be on their way or unread at any time. */
  window: number;
}

export class ClientWire {
  private readonly channels = new Map<string, Channel>();
  private readonly encoder = new Encoder({ ignoreUndefined: true });
  private outbox: Uint8Array[] = [];
  private nextId = 0;

  constructor(private readonly options: WireOptions) {}

  get openChannels(): number {
    return this.channels.size;
  }

  /** Asks for `method`; its replies carry the returned id. Throws if an argument cannot be encoded. */
  open(method: string, args: readonly unknown[], stream: boolean): string {
    const id = this.newId();
    this.outbox.push(this.encoder.encode([{ message_id: id, v: VERSION }, method, args]));
    this.channels.set(id, { stream, credit: 1, unread: 0, silentTicks: 0, sinceHeartbeat: 0 });
    return id;
  }

  /** What a message means to the caller: nothing, one reply, or two for a plain result on a stream. */
  receive(data: Uint8Array): Reply[] {
    const message = parse(data);
    const channel = message && this.channels.get(message.id);
    if (!channel) return [];
    channel.silentTicks = 0;
    return this.onChannel(channel, message);
  }

  private onChannel(channel: Channel, { id, name, args }: Message): Reply[] {
    switch (name) {
      case HEARTBEAT:
      case MORE:
        return [];
      case "OK": {
        this.channels.delete(id);
        const value = Array.isArray(args) ? (args as unknown[])[0] : undefined;
        return channel.stream ? [{ kind: "item", id, value }, { kind: "done", id }] : [{ kind: "result", id, value }];
      }
      case "ERR":
        this.channels.delete(id);
        return [{ kind: "error", id, error: errorFromReply(args) }];
      case "STREAM":
        return this.onItem(channel, id, args);
      case "STREAM_DONE":
        this.channels.delete(id);
        return [{ kind: "done", id }];
      default:
        return [this.violation(id, `unknown reply ${name}`)];
    }
  }

  private onItem(channel: Channel, id: string, value: unknown): Reply[] {
    if (!channel.stream) return [this.violation(id, "a stream where one result was expected")];
    if (channel.credit === 0) return [this.violation(id, "more items than were asked for")];
    channel.credit -= 1;
    channel.unread += 1;
    return [{ kind: "item", id, value }];
  }

  private violation(id: string, what: string): Reply {
    this.cancel(id);
    return { kind: "error", id, error: new SidecarError("client.protocol", `the server broke the protocol: ${what}`) };
  }

  /** An item was taken by the reader. Grants come in half windows, and none before the first item arrived. */
  consumed(id: string): void {
    const channel = this.channels.get(id);
    if (!channel) return;
    channel.unread -= 1;
    const grant = this.options.window - channel.credit - channel.unread;
    if (grant * 2 < this.options.window) return;
    channel.credit += grant;
    this.push(id, MORE, [grant]);
  }

  /** Forgets a channel and asks the server to stop; servers without the vendor event ignore it. */
  cancel(id: string): void {
    if (this.channels.delete(id)) this.push(id, CANCEL, []);
  }

  /** To be called TICKS_PER_HEARTBEAT times per heartbeat interval; returns the channels whose peer is lost. */
  tick(): string[] {
    const lost: string[] = [];
    for (const [id, channel] of this.channels) {
      channel.silentTicks += 1;
      channel.sinceHeartbeat += 1;
      if (channel.silentTicks > TICKS_TO_LOST) lost.push(id);
      else if (channel.sinceHeartbeat >= TICKS_PER_HEARTBEAT) {
        channel.sinceHeartbeat = 0;
        this.push(id, HEARTBEAT, [0]);
      }
    }
    for (const id of lost) this.channels.delete(id);
    return lost;
  }

  /** The messages to send, in order. */
  drain(): Uint8Array[] {
    const messages = this.outbox;
    this.outbox = [];
    return messages;
  }

  private push(channelId: string, name: string, args: readonly unknown[]): void {
    const headers = { message_id: this.newId(), v: VERSION, response_to: channelId };
    this.outbox.push(this.encoder.encode([headers, name, args]));
  }

  private newId(): string {
    this.nextId += 1;
    return `${this.options.idPrefix}${this.nextId.toString(16)}`;
  }
}

interface Message {
  id: string;
  name: string;
  args: unknown;
}

/** A message that is a reply to something, or undefined: what is malformed is dropped, as a stray datagram would be. */
function parse(data: Uint8Array): Message | undefined {
  let message: unknown;
  try {
    message = decode(data);
  } catch {
    return undefined;
  }
  if (!Array.isArray(message) || message.length !== 3) return undefined;
  const [headers, name, args] = message as [{ response_to?: unknown } | null, unknown, unknown];
  const id = textOf(headers?.response_to);
  return id !== undefined && typeof name === "string" ? { id, name, args } : undefined;
}

/** Message ids are text or, from Python peers, bytes. */
function textOf(id: unknown): string | undefined {
  if (typeof id === "string") return id;
  return id instanceof Uint8Array ? String.fromCharCode(...id) : undefined;
}
