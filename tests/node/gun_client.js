// Real gun.js clients driven by JSON lines: node gun_client.js core|full|axe FOLDER SKEW_MS.
// {"call","as","op",...} in; {"call","result"} out, and {"as","watch","key","value"} for each value a watch
// hears. "as" names one of any number of Gun instances, each a machine of its own.
'use strict';
const readline = require('readline');

const [build, folder, skew] = process.argv.slice(2);
if (Number(skew)) {
  const RealDate = Date;
  global.Date = class extends RealDate {
    constructor(...args) { if (args.length) super(...args); else super(RealDate.now() + Number(skew)); }
    static now() { return RealDate.now() + Number(skew); }
  };
}
process.chdir(folder);
const full = build !== 'core';
const Gun = require(full ? 'gun' : 'gun/gun');
const SEA = require('gun/sea');
const kept = { localStorage: false, radisk: false, ...(full ? { axe: build === 'axe' } : { WebSocket: require('ws') }) };
const machines = new Map();

const say = (line) => console.log(JSON.stringify(line));
const outcome = (done) => (ack) => done({ ok: !ack.err, err: ack.err || null });
const plain = (value) => {
  if (value === undefined) return { missing: true };
  if (value && value._) { const { _, ...rest } = value; return rest; }
  return value;
};
const follow = (gun, path) => path.reduce((chain, name) => chain.get(name), gun);
const tell = (as, watch) => (value, key) => say({ as, watch, key: key === undefined ? null : key, value: plain(value) });

function open({ as, url }) {
  const gun = Gun({ ...kept, peers: [url], file: `${folder}/${as}`, multicast: false });
  gun.on('hi', function (peer) { this.to.next(peer); tell(as, 'connected')(true); });
  machines.set(as, { gun, user: gun.user() });
}

const operations = {
  open: (command, done) => { open(command); done(true); },
  close: ({ gun, as }, done) => { drop(gun, true); machines.delete(as); done(true); },
  drop: ({ gun }, done) => { drop(gun, false); done(true); },
  put: ({ gun, path, value, cert }, done) => follow(gun, path).put(value, outcome(done), cert && { opt: { cert } }),
  set: ({ gun, path, value }, done) => follow(gun, path).set(value, outcome(done)),
  once: ({ gun, path, wait }, done) => follow(gun, path).once((value) => done(plain(value)), { wait: wait || 500 }),
  on: ({ gun, as, path, name }, done) => { follow(gun, path).on(tell(as, name)); done(true); },
  map: ({ gun, as, path, name }, done) => { follow(gun, path).map().on(tell(as, name)); done(true); },
  create: ({ user, alias, pass }, done) => user.create(alias, pass, (ack) => done({ pub: ack.pub, err: ack.err || null })),
  auth: ({ user, alias, pass }, done) => user.auth(alias, pass, outcome(done)),
  own: ({ user, path, values }, done) => {
    let left = values.length;
    for (const value of values) follow(user, path).put(value, (ack) => { if (ack.err || --left === 0) outcome(done)(ack); });
  },
  certify: ({ user, pub, policy }, done) => SEA.certify([pub], policy, user._.sea, done),
};

function drop(gun, forGood) {
  for (const peer of Object.values(gun._.opt.peers)) {
    if (forGood) delete gun._.opt.peers[peer.url];
    if (peer.wire) peer.wire.terminate();
  }
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  let answered = false;
  operations[command.op]({ ...command, ...machines.get(command.as) }, (result) => {
    if (!answered) say({ call: command.call, result });
    answered = true;
  });
}).on('close', () => process.exit(0));
say({ ready: true });
