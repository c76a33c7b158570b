import { openClient, type Client, type ClientOptions } from "./client.js";
import type { Dialer } from "./transport.js";
import { ZmqTransport, type CurveKeys } from "./zmq-transport.js";

export interface ConnectOptions extends ClientOptions {
  /** Needed for tcp endpoints, which take no client without keys. */
  curve?: CurveKeys;
}

/** Connects to a running sidecar at its `ipc://` or `tcp://` endpoint. */
export function connect(endpoint: string, options: ConnectOptions = {}): Promise<Client> {
  const { curve, ...clientOptions } = options;
  const dialer: Dialer = {
    generation: 0,
    dial: () => Promise.resolve(new ZmqTransport(endpoint, curve)),
    close: () => Promise.resolve(),
  };
  return openClient(dialer, clientOptions);
}
