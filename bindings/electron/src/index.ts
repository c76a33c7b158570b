export { attach } from "./attach.js";
export type { AttachOptions, ElectronLike, InvokeEvent, PageLike } from "./attach.js";
export type { AlephApi, PageEvent, SidecarNotice } from "./api.js";
