// What the demo starts around the two sidecars: a relay, a screen to share, and the end of both.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import path from "node:path";

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
export const PYTHON = path.join(ROOT, ".venv/bin/python");
const READY_MS = 15_000;

/** Child processes in the order they were started; `endAll` ends them by pid in reverse. */
const children = [];

export async function endAll() {
  for (const child of children.splice(0).reverse()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 4000);
    await once(child, "exit");
    clearTimeout(timer);
  }
}

function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], ...options });
  children.push(child);
  return child;
}

/** What a child says in its ready line (a JSON object; gun.js greets before it), or why it did not start. */
async function ready(child, what) {
  const lines = createInterface({ input: child.stdout });
  const timer = setTimeout(() => lines.close(), READY_MS);
  for await (const line of lines) {
    if (!line.startsWith("{")) continue;
    clearTimeout(timer);
    child.stdout.resume();
    return JSON.parse(line);
  }
  throw new Error(`${what} did not say that it is ready (exit code ${child.exitCode})`);
}

/** Our relay, or a real gun.js one; resolves to the peer URL a sidecar is given. */
export async function startRelay(kind, dataDir) {
  if (kind === "gunjs") {
    const script = path.join(ROOT, "bindings/example/demo/gun-relay.cjs");
    const child = start("node", [script, dataDir], { cwd: path.join(ROOT, "tests/node") });
    return (await ready(child, "the gun.js relay")).gun;
  }
  const args = [
    "-m", "sidecar", "relay", "--host", "127.0.0.1", "--gun-port", "0", "--data", dataDir, "--no-turn",
    "--parent-pid", String(process.pid),
  ];
  const child = start(PYTHON, args, { cwd: ROOT, stdio: ["ignore", "pipe", "ignore"] });
  return (await ready(child, "the relay")).gun.replace(/^ws/, "http");
}

/** The display alice shares: the real one, or Xvfb with a known background colour and something moving. */
export async function startScreen(color) {
  if (process.env.DISPLAY) return { display: process.env.DISPLAY, color: null };
  const args = ["-displayfd", "3", "-screen", "0", "1280x720x24", "-nolisten", "tcp", "-noreset"];
  const server = start("Xvfb", args, { stdio: ["ignore", "ignore", "ignore", "pipe"] });
  const [data] = await once(server.stdio[3], "data", { signal: AbortSignal.timeout(READY_MS) });
  const display = `:${String(data).trim()}`;
  const env = { ...process.env, DISPLAY: display };
  const root = start("xsetroot", ["-solid", `#${color}`], { env });
  await once(root, "exit");
  start("ico", ["-geometry", "400x400+40+40", "-sleep", "0.03"], { env });
  return { display, color };
}
