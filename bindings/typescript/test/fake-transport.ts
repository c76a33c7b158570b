import type { Transport, TransportHandlers } from "../src/transport.js";
import { readRequest, reply, type Request } from "./server-wire.js";

/** A transport whose other end is the test. */
export class FakeTransport implements Transport {
  readonly sent: Request[] = [];
  closed = false;
  private handlers: TransportHandlers | undefined;

  /** `answer` sees each request and may answer it through `reply`. */
  constructor(private readonly answer: (request: Request, transport: FakeTransport) => void = () => undefined) {}

  start(handlers: TransportHandlers): void {
    this.handlers = handlers;
  }

  send(message: Uint8Array): void {
    const request = readRequest(message);
    this.sent.push(request);
    queueMicrotask(() => this.answer(request, this));
  }

  close(): void {
    this.closed = true;
    this.handlers = undefined;
  }

  reply(to: string, name: string, args: unknown): void {
    this.handlers?.message(reply(to, name, args));
  }

  breakDown(error: Error): void {
    this.handlers?.down(error);
  }

  named(name: string): Request[] {
    return this.sent.filter((request) => request.name === name);
  }
}
