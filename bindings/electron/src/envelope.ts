/**
 * How an answer crosses from the main process to the page. Electron keeps only the message of an error that a handler
 * throws, and contextBridge only that of one that the preload throws, so errors travel as plain objects.
 */
import type { WireError } from "@alephnet/sidecar/core";

export type Envelope = { value: unknown } | { error: WireError };

/** Goes by the members and not by the class, of which an application may have loaded two: one ESM, one CommonJS. */
export function wrapError(error: unknown): { error: WireError } {
  if (!(error instanceof Error)) return { error: { code: "internal", message: String(error) } };
  const { code = "internal", message, details } = error as Error & Partial<WireError>;
  return { error: details ? { code, message, details } : { code, message } };
}

/** The value, or a rejection with the plain `{code, message, details?}`. */
export function unwrap(envelope: Envelope): unknown {
  if ("error" in envelope) throw envelope.error;
  return envelope.value;
}
