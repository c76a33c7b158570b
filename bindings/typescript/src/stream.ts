/** The reading end of a stream: an async iterator whose reader sets the pace. */
import type { Reply } from "./wire.js";

export interface StreamControl {
  /** One item was taken. */
  consumed(): void;
  /** The reader left early. */
  cancel(): void;
  /** Nothing will come any more. */
  ended(): void;
}

interface Waiter<T> {
  resolve(result: IteratorResult<T>): void;
  reject(error: Error): void;
}

export class RpcStream<T> implements AsyncIterableIterator<T> {
  private readonly items: T[] = [];
  private readonly waiters: Waiter<T>[] = [];
  private finished = false;
  /** Told to the first reader that comes after the last item. */
  private error: Error | undefined;

  constructor(private readonly control: StreamControl) {}

  next(): Promise<IteratorResult<T>> {
    if (this.items.length > 0) {
      const value = this.items.shift() as T;
      this.control.consumed();
      return Promise.resolve({ value, done: false });
    }
    const error = this.error;
    this.error = undefined;
    if (error) return Promise.reject(error);
    if (this.finished) return Promise.resolve(END);
    return new Promise((resolve, reject) => this.waiters.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<T>> {
    if (!this.finished) this.control.cancel();
    this.items.length = 0;
    this.error = undefined;
    this.finish();
    return Promise.resolve(END);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  reply(reply: Reply): void {
    if (reply.kind === "item") this.push(reply.value as T);
    else if (reply.kind === "error") this.fail(reply.error);
    else this.finish();
  }

  fail(error: Error): void {
    if (this.finished) return;
    const waiter = this.waiters.shift();
    if (waiter) waiter.reject(error);
    else this.error = error;
    this.finish();
  }

  private push(value: T): void {
    const waiter = this.waiters.shift();
    if (!waiter) {
      this.items.push(value);
      return;
    }
    this.control.consumed();
    waiter.resolve({ value, done: false });
  }

  private finish(): void {
    if (this.finished) return;
    this.finished = true;
    this.control.ended();
    for (const waiter of this.waiters.splice(0)) waiter.resolve(END);
  }
}

const END: IteratorReturnResult<undefined> = { value: undefined, done: true };
