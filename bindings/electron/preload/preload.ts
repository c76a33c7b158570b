/** The ready-made preload: `window.alephAPI` in a page with contextIsolation, sandboxed or not. */
import { contextBridge, ipcRenderer } from "electron";
import { alephApi } from "../src/api.js";

contextBridge.exposeInMainWorld("alephAPI", alephApi(ipcRenderer));
