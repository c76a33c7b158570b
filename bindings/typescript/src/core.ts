/** What needs neither Node nor ZeroMQ: for front ends that bring their own transport. */
export type {
  Channel,
  EventName,
  InvokeArgs,
  InvokeChannel,
  Namespaces,
  Params,
  Result,
  StreamArgs,
  StreamChannel,
} from "./api.js";
export { openClient } from "./client.js";
export type { Client, ClientMethods, ClientOptions, Notices } from "./client.js";
export * from "./errors.js";
export * from "./generated/index.js";
export { RpcClient } from "./rpc.js";
export type { CallOptions, RpcOptions, StreamOptions } from "./rpc.js";
export type { RpcStream } from "./stream.js";
export type { Dialer, Transport, TransportHandlers } from "./transport.js";
