/**
 * One tree of errors; every one has a stable `code`.
 *
 *     SidecarError            the sidecar answered with {code, message, details?}
 *       TimeoutError          client.timeout       no answer in time; the request was cancelled
 *       LostRemoteError       client.lost-remote   the connection or the process is gone
 *       RefusedError          client.refused       the server refused our CURVE key
 *       AbortError            client.aborted       the caller's AbortSignal fired
 *       ClosedError           client.closed        this client was closed
 *       SpawnError            client.spawn-failed  the sidecar ended before it was ready
 */
export class SidecarError extends Error {
  declare readonly details?: Record<string, unknown>;

  constructor(
    readonly code: string,
    message: string,
    details?: Record<string, unknown>,
  ) {
    super(message);
    this.name = new.target.name;
    if (details) this.details = details;
  }

  /** The wire shape; also what survives a process boundary that drops an Error's own members. */
  toJSON(): WireError {
    const { code, message, details } = this;
    return details ? { code, message, details } : { code, message };
  }
}

export interface WireError {
  code: string;
  message: string;
  details?: Record<string, unknown>;
}

export class TimeoutError extends SidecarError {
  constructor(message: string) {
    super("client.timeout", message);
  }
}

export class LostRemoteError extends SidecarError {
  constructor(message: string, details?: Record<string, unknown>) {
    super("client.lost-remote", message, details);
  }
}

export class RefusedError extends SidecarError {
  constructor(message: string) {
    super("client.refused", message);
  }
}

export class AbortError extends SidecarError {
  constructor(message = "aborted by the caller") {
    super("client.aborted", message);
  }
}

export class ClosedError extends SidecarError {
  constructor(message = "the client is closed") {
    super("client.closed", message);
  }
}

export class SpawnError extends SidecarError {
  /** `exitCode` is null when a signal ended the process, `stderr` holds its last lines. */
  constructor(
    message: string,
    readonly exitCode: number | null,
    readonly stderr: readonly string[],
  ) {
    super("client.spawn-failed", message, { exitCode, stderr });
  }
}

/** What an ERR reply `[name, message, json]` means; a foreign server's third member is a traceback and is dropped. */
export function errorFromReply(args: unknown): SidecarError {
  if (!Array.isArray(args)) return new SidecarError("internal", String(args));
  const [name, message, json] = args as unknown[];
  return new SidecarError(String(name), String(message ?? ""), detailsOf(json));
}

function detailsOf(json: unknown): Record<string, unknown> | undefined {
  if (typeof json !== "string" || !json.startsWith("{")) return undefined;
  try {
    const { details } = JSON.parse(json) as { details?: Record<string, unknown> };
    return details ?? undefined;
  } catch {
    return undefined;
  }
}
