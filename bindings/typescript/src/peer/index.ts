/** For a page that owns the media of its calls; needs a browser's WebRTC and nothing else. */
export { PeerCalls } from "./calls.js";
export type { PeerCallsOptions, PeerHandlers, PeerLink } from "./calls.js";
export type { Line } from "./connection.js";
export type { SendState } from "./control.js";
export type { PeerConnectionClass, PeerConnectionLike, TrackLike } from "./dom.js";
