// A real gun.js relay: node gun_relay.js PORT FOLDER AXE. Says {"ready":true,"port"} on stdout, ends with stdin.
'use strict';
const http = require('http');

const [port, folder, axe] = process.argv.slice(2);
process.chdir(folder);
const Gun = require('gun');

const server = http.createServer((request, response) => response.end('gun\n'));
server.listen(Number(port), '127.0.0.1', () => {
  Gun({ web: server, file: folder + '/data', radisk: true, localStorage: false, multicast: false, axe: axe === 'true', peers: [] });
  console.log(JSON.stringify({ ready: true, port: server.address().port }));
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
