// The real sea.js, asked by JSON lines: {"call","op","args"} in, {"call","result"} out.
'use strict';
const readline = require('readline');
const Gun = require('gun/gun');
const SEA = require('gun/sea');

console.log = console.error;  // sea.js reports failures on stdout
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

// What gun.js says about a put: its own check of one cell, as a relay makes it.
const judge = (soul, key, value, state) => new Promise((resolve) => {
  const gun = Gun({ localStorage: false, radisk: false, file: false, multicast: false, axe: false, WebSocket: false });
  gun.on('put', function () { resolve(null); });
  gun.on('in', function (message) {
    if (message.err) { resolve(message.err); return; }
    this.to.next(message);
  });
  const node = { _: { '#': soul, '>': { [key]: state } }, [key]: value };
  gun._.on('in', { '#': String(Math.random()), put: { [soul]: node } });
  setTimeout(() => resolve('no answer'), 300);
});

const operations = {
  pair: () => SEA.pair(),
  sign: (value, pair) => SEA.sign(value, pair),
  verify: (text, pub) => SEA.verify(text, pub),
  encrypt: (value, key) => SEA.encrypt(value, key),
  decrypt: (text, key) => SEA.decrypt(text, key),
  secret: (epub, pair) => SEA.secret(epub, pair),
  work: (value, salt, options) => SEA.work(value, salt, null, options),
  certify: (who, policy, pair, options) => SEA.certify(who, policy, pair, null, options),
  stringify: (texts) => texts.map((text) => JSON.stringify(JSON.parse(text))),
  hash: (texts) => texts.map((text) => String.hash(text)),
  match: (rows) => rows.map(([text, lex]) => String.match(text, lex)),
  judge,
};

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const { call, op, args } = JSON.parse(line);
  const result = await operations[op](...args);
  say({ call, result: result === undefined ? { undefined: true } : result });
});
process.stdin.on('end', () => process.exit(0));
say({ ready: true });
