// A real gun.js client driven by JSON lines: node gun_client.js core|full URL FOLDER.
// {"call","op",...} in; {"call","result"} out, and {"watch","key","value"} for each value a watch hears.
'use strict';
const readline = require('readline');

const [build, url, folder] = process.argv.slice(2);
process.chdir(folder);
const Gun = require(build === 'full' ? 'gun' : 'gun/gun');
require('gun/sea');
const options = { peers: [url], localStorage: false, radisk: false, file: false, multicast: false, axe: false };
const gun = Gun({ ...options, WebSocket: require('ws') });
gun.on('hi', function (peer) { this.to.next(peer); console.log(JSON.stringify({ watch: 'connected', key: null, value: true })); });
const user = gun.user();

const say = (line) => console.log(JSON.stringify(line));
const follow = (path) => path.reduce((chain, name) => chain.get(name), gun);
const plain = (value) => {
  if (value === undefined) return { missing: true };
  if (value && value._) { const { _, ...rest } = value; return rest; }
  return value;
};

const operations = {
  put: ({ path, value }, done) => follow(path).put(value, (ack) => done({ ok: ack.err === undefined, err: ack.err ?? null })),
  set: ({ path, value }, done) => follow(path).set(value, (ack) => done({ ok: ack.err === undefined, err: ack.err ?? null })),
  once: ({ path, wait }, done) => follow(path).once((value) => done(plain(value)), { wait: wait || 500 }),
  on: ({ path, name }, done) => { follow(path).on((value, key) => say({ watch: name, key, value: plain(value) })); done(true); },
  map: ({ path, name }, done) => { follow(path).map().on((value, key) => say({ watch: name, key, value: plain(value) })); done(true); },
  create: ({ alias, pass }, done) => user.create(alias, pass, (ack) => done({ pub: ack.pub, err: ack.err ?? null })),
  auth: ({ alias, pass }, done) => user.auth(alias, pass, (ack) => done({ ok: !ack.err, err: ack.err ?? null })),
  own: ({ key, value }, done) => user.get(key).put(value, (ack) => done({ ok: ack.err === undefined, err: ack.err ?? null })),
};

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  let answered = false;
  operations[command.op](command, (result) => {
    if (!answered) say({ call: command.call, result });
    answered = true;
  });
}).on('close', () => process.exit(0));
say({ ready: true });
