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

/** The first line a child prints, or an error that says what did not start. */
async function firstLine(child, what) {
  const lines = createInterface({ input: child.stdout });
  const timeout = AbortSignal.timeout(READY_MS);
  const line = once(lines, "line", { signal: timeout }).then(([text]) => text);
  const exit = once(child, "exit").then(([code]) => {
    throw new Error(`${what} ended with code ${code} before it was ready`);
  });
  exit.catch(() => {});
  return Promise.race([line, exit]);
}

/** Our relay, or a real gun.js one; resolves to the peer URL a sidecar is given. */
export async function startRelay(kind, dataDir) {
  if (kind === "gunjs") {
    const script = path.join(ROOT, "bindings/example/demo/gun-relay.cjs");
    const child = start("node", [script, dataDir], { cwd: path.join(ROOT, "tests/node") });
    return `http://127.0.0.1:${await firstLine(child, "the gun.js relay")}/gun`;
  }
  const args = ["-m", "sidecar", "relay", "--host", "127.0.0.1", "--gun-port", "0", "--data", dataDir, "--no-turn"];
  const child = start(PYTHON, args, { cwd: ROOT, stdio: ["ignore", "pipe", "ignore"] });
  const ready = JSON.parse(await firstLine(child, "the relay"));
  return ready.gun.replace(/^ws/, "http");
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
