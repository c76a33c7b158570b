"use strict";
// zerorpc-node's own client doing one thing to an endpoint; prints JSON.
const zerorpc = require("zerorpc");

const [endpoint, what] = process.argv.slice(2);

function connect() {
  const client = new zerorpc.Client({ timeout: 60, heartbeatInterval: 5000 });
  client.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
  client.connect(endpoint);
  return client;
}

function call(client, channel, params) {
  return new Promise((resolve) => {
    client.invoke(channel, params, (error, result) =>
      resolve(error ? [error.name, error.message, error.traceback] : result),
    );
  });
}

function stream(client, channel, params) {
  return new Promise((resolve, reject) => {
    const items = [];
    client.invoke(channel, params, (error, item, more) => {
      if (error) reject(new Error(error.message));
      else if (more) items.push(item);
      else resolve(items);
    });
  });
}

const actions = {
  async calls() {
    const client = connect();
    return [
      await call(client, "echo", { text: "now" }),
      await call(client, "later", { text: "then" }),
      await call(client, "_zerorpc_ping"),
      await call(client, "refuse", null),
      await call(client, "fail", { text: "value" }),
      await call(client, "nix", null),
    ];
  },
  async streamThenFreshClient() {
    const client = connect();
    const items = await stream(client, "count", { size: 1000 });
    const same = await call(client, "echo", { text: "same" });
    return [items, same, await call(connect(), "echo", { text: "fresh" })];
  },
  async blob() {
    return (await call(connect(), "blob", { size: 20_000_000 })).length;
  },
  async concurrent() {
    const client = connect();
    return Promise.all(Array.from({ length: 200 }, (_, n) => call(client, "later", { text: String(n) })));
  },
};

actions[what]().then((result) => {
  process.stdout.write(JSON.stringify(result), () => process.exit(0));
});
