/** As much of Electron as the preload uses, so that its package, which downloads a browser, is not needed here. */
declare module "electron" {
  export const contextBridge: { exposeInMainWorld(name: string, api: object): void };
  export const ipcRenderer: import("../src/api.js").IpcRendererLike;
}
