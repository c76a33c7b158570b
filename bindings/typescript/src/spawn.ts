/** A sidecar of our own: started, watched, started again, and ended with us. */
import { openClient, type Client, type ClientOptions } from "./client.js";
import { LostRemoteError } from "./errors.js";
import { SidecarProcess, type LogRecord, type ReadyLine } from "./process.js";
import type { Dialer, Transport } from "./transport.js";
import { curveKeys, ZmqTransport } from "./zmq-transport.js";

/** The first line of the sidecar's input; each member is optional and left out means the sidecar's default. */
export interface Handshake {
  /** Where the sidecar keeps its state; one sidecar per directory. */
  dataDir?: string;
  /** AlephNet's identity; made when absent. */
  identityFile?: string;
  /** Gun relays. */
  peers?: readonly string[];
  /** "ipc", a socket in a private directory, where the platform has it; "tcp" with keys otherwise. */
  transport?: "ipc" | "tcp";
  web?: { origins: readonly string[] };
  /** Who may connect, beside this client, and what each may do. */
  clients?: readonly { token: string; permissions: readonly string[] }[];
  /** Configuration in AlephNet's shape. */
  config?: Record<string, unknown>;
}

export interface RestartPolicy {
  /** Restarts in a row before giving up; a process that lived for a minute starts the count anew. Default 5. */
  attempts?: number;
}

export interface SpawnOptions extends Handshake, ClientOptions {
  /** The command; by default `<python> -m sidecar ipc`. A packaged application names its bundled program. */
  command?: readonly string[];
  /** The interpreter of the default command. Default "python3", on Windows "python". */
  python?: string;
  cwd?: string;
  env?: Record<string, string | undefined>;
  /** How long the ready line may take, and then the first answer, in milliseconds. Default 15000. */
  readyTimeoutMs?: number;
  /** Receives each line of the sidecar's log. */
  onLog?: (record: LogRecord) => void;
  /** What to do when the sidecar crashes or is killed; `false` closes the client, as does a sidecar told to end. */
  restart?: RestartPolicy | false;
}

const STEADY_MS = 60_000;
/** Connections tried with a process that lives but does not answer, before it is replaced. */
const DIALS_PER_PROCESS = 3;

/** Starts a sidecar and connects to it; `client.close()` ends both. */
export function spawnSidecar(options: SpawnOptions = {}): Promise<Client> {
  // It is ready once it can be reached, and loads the rest of itself before its first answer.
  return openClient(new SpawnDialer(options), { connectTimeoutMs: readyTimeout(options), ...options });
}

class SpawnDialer implements Dialer {
  generation = 0;
  private child: SidecarProcess | undefined;
  private ready: ReadyLine | undefined;
  private readonly keys: ReturnType<typeof curveKeys> | undefined;
  private startedAt = 0;
  private restarts = 0;
  private dials = 0;
  private closed = false;

  constructor(private readonly options: SpawnOptions) {
    if (overTcp(options)) this.keys = curveKeys();
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  async dial(): Promise<Transport> {
    if (this.child && this.dials >= DIALS_PER_PROCESS && this.options.restart !== false) {
      this.child.kill();
      await this.child.exited;
    }
    if (!this.child?.alive || !this.ready) await this.start();
    const { child, ready } = this;
    if (!child || !ready) throw new LostRemoteError("the sidecar was ended");
    this.dials += 1;
    const { endpoint, serverKey } = ready;
    const curve = this.keys && serverKey !== undefined ? { ...this.keys, serverKey } : undefined;
    const transport = new ZmqTransport(endpoint, curve);
    void child.exited.then(({ code, signal }) =>
      transport.down(new LostRemoteError("the sidecar ended", { exitCode: code, signal })),
    );
    return transport;
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.child?.stop();
  }

  private async start(): Promise<void> {
    if (this.child) this.allowRestart(this.child);
    const child = new SidecarProcess({
      command: this.options.command ?? defaultCommand(this.options.python),
      handshake: this.handshake(),
      cwd: this.options.cwd,
      env: this.options.env,
      onLog: this.options.onLog,
    });
    this.child = child;
    this.startedAt = Date.now();
    this.dials = 0;
    this.ready = undefined;
    try {
      this.ready = await child.ready(readyTimeout(this.options));
    } catch (error) {
      // The caller of spawnSidecar hears why; a failed restart is one more loss, tried again until the policy ends.
      throw this.generation === 0 ? error : new LostRemoteError((error as Error).message);
    }
    this.generation += 1;
  }

  private allowRestart(previous: SidecarProcess): void {
    const { restart = {} } = this.options;
    if (Date.now() - this.startedAt >= STEADY_MS) this.restarts = 0;
    this.restarts += 1;
    // Exit code 0 means that somebody asked it to end.
    const meant = this.closed || previous.exitCode === 0;
    if (meant || restart === false || this.restarts > (restart.attempts ?? 5)) throw previous.failed("it ended");
  }

  private handshake(): object {
    const { dataDir, identityFile, peers, transport, web, clients, config } = this.options;
    const curve = this.keys && { clientKey: this.keys.publicKey };
    return { v: 1, dataDir, identityFile, peers, transport, curve, parentPid: process.pid, web, clients, config };
  }
}

/** Windows has no ipc transport, so the sidecar's default there is tcp, for which it must know our key. */
function overTcp({ transport }: SpawnOptions): boolean {
  return transport === "tcp" || (transport === undefined && process.platform === "win32");
}

function readyTimeout({ readyTimeoutMs = 15_000 }: SpawnOptions): number {
  return readyTimeoutMs;
}

function defaultCommand(python: string | undefined): string[] {
  return [python ?? (process.platform === "win32" ? "python" : "python3"), "-m", "sidecar", "ipc"];
}
