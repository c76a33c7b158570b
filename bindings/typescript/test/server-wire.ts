/** The server's half of the wire, as little of it as the tests need: decodes requests, makes replies. */
import { decode, encode } from "@msgpack/msgpack";

export interface Request {
  id: string;
  responseTo: string | undefined;
  name: string;
  args: unknown;
}

export function readRequest(data: Uint8Array): Request {
  const [headers, name, args] = decode(data) as [{ message_id: string; response_to?: string }, string, unknown];
  return { id: headers.message_id, responseTo: headers.response_to, name, args };
}

export function reply(to: string, name: string, args: unknown): Uint8Array {
  return encode([{ message_id: "server", v: 3, response_to: to }, name, args]);
}

/** As Python peers send ids. */
export function replyWithBytesId(to: string, name: string, args: unknown): Uint8Array {
  return encode([{ message_id: "server", v: 3, response_to: Buffer.from(to) }, name, args]);
}
