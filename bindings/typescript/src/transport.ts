/** Carries whole messages, in order, to one server and back; knows nothing of what is in them. */
export interface Transport {
  /** Called once, before the first send. */
  start(handlers: TransportHandlers): void;
  /** Queues a message; never blocks and never throws. */
  send(message: Uint8Array): void;
  /** Ends at once; no handler is called afterwards. */
  close(): void;
}

export interface TransportHandlers {
  message(data: Uint8Array): void;
  /** The peer is gone and what is in flight is lost; called at most once. */
  down(error: Error): void;
}

/** Where a client gets its connection from, the first time and after each loss. */
export interface Dialer {
  /** Resolves with a transport to a server that is believed to run; rejects when there never will be one. */
  dial(): Promise<Transport>;
  /** Ends what the dialer owns, such as a child process. */
  close(): Promise<void>;
  /** Changes when the server behind it was replaced by a new process. */
  readonly generation: number;
  /** The process id of a spawned sidecar. */
  readonly pid?: number | undefined;
}
