// Builds dist/esm and dist/cjs, each with its types, and the preload script as one file that a sandbox can load.
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const tsc = join(root, "node_modules", "typescript", "bin", "tsc");

rmSync(join(root, "dist"), { recursive: true, force: true });
for (const [folder, module, type] of [
  ["esm", "esnext", "module"],
  ["cjs", "commonjs", "commonjs"],
]) {
  const out = join(root, "dist", folder);
  execFileSync(process.execPath, [tsc, "-p", root, "--outDir", out, "--module", module], { stdio: "inherit" });
  writeFileSync(join(out, "package.json"), `${JSON.stringify({ type })}\n`);
}
buildSync({
  absWorkingDir: root,
  entryPoints: ["preload/preload.ts"],
  outfile: "dist/preload.cjs",
  bundle: true,
  format: "cjs",
  target: "chrome83",
  external: ["electron"],
  logLevel: "warning",
});
