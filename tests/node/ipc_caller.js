"use strict";
// A zerorpc caller that does nothing but call, for comparing servers: node ipc_caller.js ENDPOINT OPTIONS-JSON.
// OPTIONS: {warmup, calls, batch, callers, items}. Prints {p50Us, p99Us, callsPerS, eventsPerS} on one line.
const { Dealer } = require("zeromq");
const { Encoder, Decoder } = require("@msgpack/msgpack");

const encoder = new Encoder();
const decoder = new Decoder();
const EMPTY = Buffer.alloc(0);
const WINDOW = 100;
const ARGS = [{ text: "0123456789abcdef0123456789abcdef" }];

class Caller {
  constructor(endpoint) {
    this.socket = new Dealer({ linger: 0 });
    this.socket.connect(endpoint);
    this.pending = new Map();
    this.queue = [];
    this.sending = false;
    this.number = 0;
    this.receive();
  }

  send(header, name, args) {
    this.queue.push(encoder.encode([header, name, args]).slice());
    if (!this.sending) this.flush();
  }

  async flush() {
    this.sending = true;
    while (this.queue.length > 0) await this.socket.send([EMPTY, this.queue.shift()]);
    this.sending = false;
  }

  async receive() {
    for await (const parts of this.socket) {
      const [header, name, args] = decoder.decode(parts[parts.length - 1]);
      // The bare echo returns the request itself.
      const id = header.response_to ?? header.message_id;
      this.pending.get(id)?.(name, args);
    }
  }

  call(method) {
    const id = `caller-0123456789abcdef-${++this.number}`;
    return new Promise((resolve, reject) => {
      this.pending.set(id, (name, args) => {
        this.pending.delete(id);
        if (name === "ERR") reject(new Error(args.join(": ")));
        else resolve(args[0]);
      });
      this.send({ message_id: id, v: 3 }, method, ARGS);
    });
  }

  stream(method, count) {
    const id = `caller-0123456789abcdef-${++this.number}`;
    return new Promise((resolve, reject) => {
      let got = 0;
      let credit = 1;
      this.pending.set(id, (name, args) => {
        if (name === "STREAM") {
          got += 1;
          credit -= 1;
          if (credit < WINDOW / 2) {
            this.send({ message_id: `${id}-${got}`, v: 3, response_to: id }, "_zpc_more", [WINDOW - credit]);
            credit = WINDOW;
          }
        } else if (name === "STREAM_DONE") {
          this.pending.delete(id);
          resolve(got);
        } else if (name === "ERR") reject(new Error(args.join(": ")));
      });
      this.send({ message_id: id, v: 3 }, method, [{ count }]);
    });
  }
}

const now = () => Number(process.hrtime.bigint()) / 1e3;
const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

async function latency(caller, calls) {
  const times = [];
  for (let n = 0; n < calls; n++) {
    const started = now();
    await caller.call("echo");
    times.push(now() - started);
  }
  return times.sort((a, b) => a - b);
}

async function throughput(caller, callers, calls) {
  let left = calls;
  const started = now();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (left-- > 0) await caller.call("echo");
    }),
  );
  return (calls / (now() - started)) * 1e6;
}

async function main(endpoint, options) {
  const caller = new Caller(endpoint);
  await throughput(caller, options.callers, options.warmup);
  const times = await latency(caller, options.calls);
  const callsPerS = await throughput(caller, options.callers, options.batch);
  let eventsPerS = null;
  if (options.items > 0) {
    await caller.stream("events", options.warmup);
    const started = now();
    const got = await caller.stream("events", options.items);
    if (got !== options.items) throw new Error(`${got} of ${options.items} items`);
    eventsPerS = (got / (now() - started)) * 1e6;
  }
  return { p50Us: at(times, 0.5), p99Us: at(times, 0.99), callsPerS, eventsPerS };
}

main(process.argv[2], JSON.parse(process.argv[3])).then(
  (result) => process.stdout.write(JSON.stringify(result) + "\n", () => process.exit(0)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
