import type { Readable } from "stream";

/** A line longer than this is cut, so that a peer that never ends one cannot fill memory. */
const LONGEST = 1 << 20;

/** Calls back with each line of a text stream, without its end. */
export function onLines(stream: Readable, callback: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = (lines.pop() ?? "").slice(0, LONGEST);
    for (const line of lines) callback(line);
  });
  stream.on("end", () => {
    if (rest) callback(rest);
  });
}
