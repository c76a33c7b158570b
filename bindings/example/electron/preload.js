const { contextBridge, ipcRenderer } = require("electron");
const { alephApi } = require("@alephnet/sidecar-electron/api");

contextBridge.exposeInMainWorld("electronAPI", { ...alephApi(ipcRenderer) });
