// A real gun.js relay on a free loopback port, started from the folder whose node_modules holds gun.
const http = require("node:http");
const path = require("node:path");
const { createRequire } = require("node:module");

const fromHere = createRequire(path.join(process.cwd(), "package.json"));
const Gun = fromHere("gun");
const server = http.createServer((_, reply) => reply.end());
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${JSON.stringify({ gun: `http://127.0.0.1:${server.address().port}/gun` })}\n`);
  Gun({ web: server, file: path.join(process.argv[2], "radata"), multicast: false, axe: false });
});
