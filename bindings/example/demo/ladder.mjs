// Prints what happens on both sides as it happens: signals from the sidecars' logs, states from their events.
export class Ladder {
  rows = [];
  signals = 0;
  #print;
  #start;

  constructor(print) {
    this.#print = print;
  }

  #row(who, text) {
    this.#start ??= performance.now();
    const ms = Math.round(performance.now() - this.#start);
    this.rows.push({ ms, who, text });
    const indent = who === "alice" ? "" : " ".repeat(44);
    this.#print(`${String(ms).padStart(6)} ms  ${indent}${who.padEnd(6)} ${text}`);
  }

  /** One parsed log line of a sidecar. */
  log(who, line) {
    if (line.msg === "signal sent") {
      this.signals += 1;
      this.#row(who, `--> ${line.kind}`);
    } else if (line.msg === "signal received") this.#row(who, `<-- ${line.kind}`);
  }

  /** Follows the events of a client until it closes. */
  follow(who, self, client) {
    client.on("aleph:callOffer", (offer) => this.#row(who, `rings: ${offer.type} call from ${offer.fromDisplayName}`));
    client.on("aleph:callStateChange", (change) =>
      this.#row(who, `state ${change.state}${change.reason ? ` (${change.reason})` : ""}`));
    client.on("aleph:mediaStateChange", (change) =>
      this.#row(who, `${change.userId === self ? "own" : "peer's"} media: audio ${on(change.audioEnabled)}, video ${on(change.videoEnabled)}, screen ${on(change.screenSharing)}`));
    client.on("aleph:recording", () => this.#row(who, "recording changed"));
    client.on("aleph:mediaWarning", (warning) => this.#row(who, `warning ${warning.code}`));
  }
}

const on = (flag) => (flag ? "on" : "off");
