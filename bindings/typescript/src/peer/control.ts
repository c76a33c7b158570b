/** Messages of the data channel `aleph-control`: JSON text, `t` names the kind; unknown kinds are ignored. */
import type { ChannelLike } from "./dom.js";

export const LABEL = "aleph-control";
export const CHANNEL_ID = 0;

/** What is sent on each line at the moment; muted or without a source is false. */
export interface SendState {
  audio: boolean;
  video: boolean;
  screen: boolean;
}

const MAX_MESSAGE = 48 * 1024;
const MAX_BACKLOG = 64 * 1024;

interface Message {
  t?: unknown;
  n?: unknown;
  audio?: unknown;
  video?: unknown;
  screen?: unknown;
}

export interface ControlHandlers {
  opened(): void;
  closed(): void;
  /** Something of the peer arrived. */
  heard(): void;
  state(state: SendState): void;
}

/** One end of the channel: answers pings, measures the round trip, tells what is sent. */
export class Control {
  /** The last measured round trip in milliseconds. */
  rttMs: number | undefined;
  private pings = 0;
  private pingedAt = 0;
  private told = "";

  constructor(
    private readonly channel: ChannelLike,
    private readonly now: () => number,
    private readonly handlers: ControlHandlers,
  ) {
    channel.onopen = () => {
      this.ping();
      handlers.opened();
    };
    channel.onclose = () => handlers.closed();
    channel.onmessage = (event) => this.receive((event as { data: unknown }).data);
  }

  get open(): boolean {
    return this.channel.readyState === "open";
  }

  ping(): void {
    this.pings += 1;
    this.pingedAt = this.now();
    this.say({ t: "ping", n: this.pings });
  }

  /** Said once for each change, so it may be called whenever something might have changed. */
  tell(state: SendState): void {
    const text = JSON.stringify({ t: "state", ...state });
    if (text !== this.told && this.say(text)) this.told = text;
  }

  close(): void {
    this.channel.onopen = this.channel.onclose = this.channel.onmessage = null;
  }

  private receive(data: unknown): void {
    const message = parse(data);
    if (!message) return;
    this.handlers.heard();
    if (message.t === "ping" && typeof message.n === "number") {
      this.say({ t: "pong", n: message.n });
    } else if (message.t === "pong" && message.n === this.pings) {
      this.rttMs = this.now() - this.pingedAt;
    } else if (message.t === "state") {
      const { audio, video, screen } = message;
      this.handlers.state({ audio: audio === true, video: video === true, screen: screen === true });
    }
  }

  private say(message: object | string): boolean {
    if (!this.open || this.channel.bufferedAmount > MAX_BACKLOG) return false;
    this.channel.send(typeof message === "string" ? message : JSON.stringify(message));
    return true;
  }
}

/** The message, or undefined for what is none: a peer's mistake is its own. */
function parse(data: unknown): Message | undefined {
  if (typeof data !== "string" || data.length > MAX_MESSAGE) return undefined;
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === "object" && value !== null ? (value as Message) : undefined;
  } catch {
    return undefined;
  }
}
