/** One sidecar process: handshake line in, ready line out, logs on stderr, end by end of input. */
import { spawn, type ChildProcessWithoutNullStreams } from "child_process";
import { SpawnError } from "./errors.js";
import { onLines } from "./lines.js";

/** A line of the sidecar's log. `raw` is set instead of the rest when a line was not JSON, such as a Python crash. */
export interface LogRecord {
  level?: string;
  /** Static text; what varies is in the other members. */
  msg?: string;
  raw?: string;
  [field: string]: unknown;
}

export interface ReadyLine {
  v: 1;
  ready: true;
  endpoint: string;
  pid: number;
  protocol: number;
  schema: string;
  web: string | null;
  /** Public CURVE key of a tcp endpoint. */
  serverKey?: string;
}

export interface Exit {
  code: number | null;
  signal: string | null;
}

export interface ProcessOptions {
  /** Program and arguments. */
  command: readonly string[];
  /** Written to the process's input as one JSON line; may hold secrets, so it is no argument and no variable. */
  handshake: object;
  cwd?: string | undefined;
  env?: Record<string, string | undefined> | undefined;
  onLog?: ((record: LogRecord) => void) | undefined;
}

const STDERR_LINES_KEPT = 20;

/** After the end of its input the sidecar takes up to 2 s, after SIGTERM up to 3 s. */
const EOF_GRACE_MS = 2500;
const TERM_GRACE_MS = 3500;

export class SidecarProcess {
  /** Resolves when the process is gone. */
  readonly exited: Promise<Exit>;
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly stderr: string[] = [];
  private readonly readyLine: Promise<ReadyLine>;
  private exit: Exit | undefined;

  constructor(private readonly options: ProcessOptions) {
    const [program = "", ...args] = options.command;
    this.child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: "pipe",
      windowsHide: true,
    });
    let failure: Error | undefined;
    this.exited = new Promise((resolve) => {
      const done = (code: number | null, signal: string | null): void => {
        this.exit ??= { code, signal };
        resolve(this.exit);
      };
      this.child.on("error", (error) => {
        failure = error;
        if (this.child.pid === undefined) done(null, null);
      });
      // "close" comes after the pipes are drained, so that the last lines of stderr are known by then.
      this.child.on("close", done);
    });
    onLines(this.child.stderr, (line) => this.onStderr(line));
    this.readyLine = new Promise((resolve, reject) => {
      onLines(this.child.stdout, (line) => {
        const ready = parseReady(line);
        if (ready) resolve(ready);
        else reject(this.failed(`its first line of output is not a ready line: ${line.slice(0, 200)}`));
      });
      void this.exited.then(() => reject(this.failed(failure ? failure.message : "it ended before it was ready")));
    });
    // Nobody may be waiting for it any more.
    this.readyLine.catch(() => undefined);
    // A process that ends early breaks the pipe; its exit tells the story.
    this.child.stdin.on("error", () => undefined);
    this.child.stdin.write(`${JSON.stringify(options.handshake)}\n`);
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  get alive(): boolean {
    return this.exit === undefined;
  }

  /** Undefined while it runs, null after a signal. */
  get exitCode(): number | null | undefined {
    return this.exit?.code;
  }

  /** The ready line, or SpawnError after `timeoutMs`, with the process killed. */
  async ready(timeoutMs: number): Promise<ReadyLine> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(this.failed(`it was not ready in ${timeoutMs} ms`)), timeoutMs);
    });
    try {
      return await Promise.race([this.readyLine, late]);
    } catch (error) {
      this.child.kill("SIGKILL");
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends it: end of input, then SIGTERM, then SIGKILL. */
  async stop(): Promise<void> {
    this.child.stdin.end();
    if (await this.exitsWithin(EOF_GRACE_MS)) return;
    this.child.kill("SIGTERM");
    if (await this.exitsWithin(TERM_GRACE_MS)) return;
    this.kill();
    await this.exited;
  }

  kill(): void {
    this.child.kill("SIGKILL");
  }

  /** An error that tells what is known about the end of the process. */
  failed(what: string): SpawnError {
    const code = this.exit?.code ?? null;
    const last = this.stderr[this.stderr.length - 1] ?? "{}";
    const words = parseObject(last) ? "" : `: ${last.slice(0, 200)}`;
    const how = this.exit ? ` (exit ${code ?? this.exit.signal ?? "unknown"})` : "";
    return new SpawnError(`the sidecar failed: ${what}${how}${words}`, code, [...this.stderr]);
  }

  private onStderr(line: string): void {
    this.stderr.push(line);
    if (this.stderr.length > STDERR_LINES_KEPT) this.stderr.shift();
    this.options.onLog?.(parseLog(line));
  }

  private async exitsWithin(ms: number): Promise<boolean> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), ms);
    });
    const gone = await Promise.race([this.exited.then(() => true), late]);
    clearTimeout(timer);
    return gone;
  }
}

function parseReady(line: string): ReadyLine | undefined {
  const value = parseObject(line);
  return value?.["ready"] === true && typeof value["endpoint"] === "string" ? (value as never) : undefined;
}

function parseLog(line: string): LogRecord {
  return parseObject(line) ?? { raw: line };
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
