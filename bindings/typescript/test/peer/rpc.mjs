// Drives a zerorpc server through the built package and prints one JSON line a test can assert on.
// Usage: node rpc.mjs ENDPOINT SCENARIO [JSON options] [NUMBER]
import { RpcClient, ZmqTransport } from "../../dist/esm/index.js";

const [endpoint, scenario, options = "{}", number] = process.argv.slice(2);
const { curve, wrap = false, ...rpcOptions } = JSON.parse(options);
const rpc = new RpcClient(new ZmqTransport(endpoint, curve), rpcOptions);

/** Arguments as this server takes them: plain, or as the one object a sidecar's channel has. */
const args = (value) => [wrap ? { value } : value];

/** What still runs at our own server, once what was cancelled has had time to end. */
async function live() {
  const deadline = performance.now() + 2000;
  for (;;) {
    const running = await rpc.call("live", []);
    if (running === 0 || performance.now() > deadline) return running;
  }
}

async function failure(promise) {
  const started = performance.now();
  try {
    await promise;
    return null;
  } catch (error) {
    const ms = Math.round(performance.now() - started);
    return { class: error.constructor.name, code: error.code, message: error.message, details: error.details, ms };
  }
}

const scenarios = {
  async calls() {
    const values = [null, true, -1, 2 ** 53 - 1, 1.5, "é😀", [], { a: { b: [1, "x"] } }];
    const answers = [];
    for (const value of values) answers.push(await rpc.call("echo", args(value)));
    return { same: JSON.stringify(answers) === JSON.stringify(values) };
  },
  error: () => failure(rpc.call("fail", args("on purpose"))),
  unknown: () => failure(rpc.call("no:such-method", [null])),
  async stream() {
    let count = 0;
    let ordered = true;
    for await (const item of rpc.stream("count", args(5000))) ordered &&= item === count++;
    return { count, ordered };
  },
  async leave() {
    const seen = [];
    for await (const item of rpc.stream("count", args(5000))) if (seen.push(item) === 3) break;
    return { seen, live: await live() };
  },
  async blob() {
    return { bytes: (await rpc.call("blob", args(20_000_000))).length };
  },
  async concurrent() {
    const numbers = Array.from({ length: 200 }, (_unused, n) => n);
    const answers = await Promise.all(numbers.map((n) => rpc.call("echo", args(n))));
    return { right: answers.filter((answer, n) => answer === n).length };
  },
  async abort() {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 20);
    const error = await failure(rpc.call("slow", args(30), { signal: controller.signal }));
    return { error, live: await live() };
  },
  async timeout() {
    const error = await failure(rpc.call("slow", args(30), { timeoutMs: 50 }));
    return { error, live: await live() };
  },
  /** Lives through several heartbeat intervals of a call that takes long. */
  patience: () => rpc.call("slow", args(1)),
  /** Says when the call is on its way, so that the test may stop the server. */
  async lost() {
    const call = rpc.call("slow", args(30));
    await rpc.call("echo", args(null));
    console.log("waiting");
    return failure(call);
  },
  /** Calls and streams that run at the server. */
  live,
  /** Makes our own server emit events. */
  emit: () => rpc.call("emit", args(Number(number))),
  refused: () => failure(rpc.call("echo", args(1), { timeoutMs: 5000 })),
};

const result = await scenarios[scenario]();
rpc.close();
console.log(JSON.stringify(result));
