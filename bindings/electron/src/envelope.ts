/**
 * How an answer crosses from the main process to the page. Electron keeps only the message of an error that a handler
 * throws, and contextBridge only that of one that the preload throws, so errors travel as plain objects.
 */
import { SidecarError, type WireError } from "@alephnet/sidecar/core";

export type Envelope = { value: unknown } | { error: WireError };

export function wrapError(error: unknown): Envelope {
  if (error instanceof SidecarError) return { error: error.toJSON() };
  return { error: { code: "internal", message: error instanceof Error ? error.message : String(error) } };
}

/** The value, or a rejection with the plain `{code, message, details?}`. */
export function unwrap(envelope: Envelope): unknown {
  if ("error" in envelope) throw envelope.error;
  return envelope.value;
}
