/** ZeroMQ, for Node and for Electron's main process. */
import { curveKeyPair, Dealer } from "zeromq";
import { LostRemoteError, RefusedError } from "./errors.js";
import type { Transport, TransportHandlers } from "./transport.js";

/** Keys in ZeroMQ's Z85 text form; `curveKeyPair()` of the package zeromq makes a pair. */
export interface CurveKeys {
  serverKey: string;
  publicKey: string;
  secretKey: string;
}

/** A fresh pair for one client. */
export function curveKeys(): Pick<CurveKeys, "publicKey" | "secretKey"> {
  return curveKeyPair();
}

/** zerorpc frames a message as an empty part, as a REQ socket would, and the payload. */
const EMPTY = Buffer.alloc(0);

/**
 * One connection: ZeroMQ would reconnect by itself, but a server knows a client by its connection, so what was in
 * flight is lost with it and the client has to start again on a new one.
 */
export class ZmqTransport implements Transport {
  private readonly socket: Dealer;
  private readonly queue: Uint8Array[] = [];
  private handlers: TransportHandlers | undefined;
  private sending = false;
  private greeted = false;

  constructor(
    private readonly endpoint: string,
    curve?: CurveKeys,
  ) {
    this.socket = new Dealer({
      linger: 0,
      // The wire's own credits bound what is queued.
      sendHighWaterMark: 0,
      receiveHighWaterMark: 0,
      ...(curve && {
        curveServerKey: curve.serverKey,
        curvePublicKey: curve.publicKey,
        curveSecretKey: curve.secretKey,
      }),
    });
  }

  start(handlers: TransportHandlers): void {
    this.handlers = handlers;
    this.watch();
    this.socket.connect(this.endpoint);
    void this.receive();
  }

  send(message: Uint8Array): void {
    this.queue.push(message);
    if (!this.sending) void this.flush();
  }

  close(): void {
    this.handlers = undefined;
    this.queue.length = 0;
    if (!this.socket.closed) this.socket.close();
  }

  private watch(): void {
    const { events } = this.socket;
    events.on("handshake", () => {
      this.greeted = true;
    });
    events.on("handshake:error:auth", () => this.down(new RefusedError("the server refused this client's key")));
    events.on("handshake:error:protocol", () =>
      this.down(new RefusedError("the server asks for other security than this client offers")),
    );
    events.on("disconnect", () =>
      this.down(
        this.greeted
          ? new LostRemoteError("the server closed the connection")
          : new RefusedError("the server closed the connection during the handshake"),
      ),
    );
  }

  private async receive(): Promise<void> {
    try {
      for await (const parts of this.socket) {
        const data = parts[parts.length - 1];
        if (data) this.handlers?.message(data);
      }
    } catch (error) {
      this.down(error as Error);
    }
  }

  /** A zeromq 6 socket takes one send at a time. */
  private async flush(): Promise<void> {
    this.sending = true;
    try {
      for (let next = this.queue.shift(); next && !this.socket.closed; next = this.queue.shift()) {
        await this.socket.send([EMPTY, next]);
      }
    } catch (error) {
      this.down(error as Error);
    } finally {
      this.sending = false;
    }
  }

  /** Ends the connection and tells the client why, once. */
  down(error: Error): void {
    const { handlers } = this;
    this.close();
    handlers?.down(error);
  }
}
