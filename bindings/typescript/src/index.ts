export * from "./core.js";
export { connect } from "./connect.js";
export type { ConnectOptions } from "./connect.js";
export type { Exit, LogRecord } from "./process.js";
export { spawnSidecar } from "./spawn.js";
export type { Handshake, RestartPolicy, SpawnOptions } from "./spawn.js";
export { ZmqTransport } from "./zmq-transport.js";
export type { CurveKeys } from "./zmq-transport.js";
