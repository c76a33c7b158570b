const { app, BrowserWindow, ipcMain, webContents } = require("electron");
const fs = require("fs");
const path = require("path");
const { spawnSidecar } = require("@alephnet/sidecar");
const { attach } = require("@alephnet/sidecar-electron");

let client;

app.whenReady().then(async () => {
  const userData = app.getPath("userData");
  const config = JSON.parse(fs.readFileSync(path.join(userData, "config.json"), "utf8"));
  const dataDir = path.join(userData, "calls");
  client = await spawnSidecar({ dataDir, peers: config.network.peers, config, onLog: console.error });
  attach({ ipcMain, webContents }, client, { isTrusted: (url) => url.startsWith("file://") });

  const preload = path.join(__dirname, "dist", "preload.js");
  const window = new BrowserWindow({ webPreferences: { preload, contextIsolation: true, sandbox: true } });
  await window.loadFile(path.join(__dirname, "index.html"));
});

app.on("before-quit", (event) => {
  if (!client) return;
  event.preventDefault();
  client.close().then(() => app.quit());
  client = undefined;
});
