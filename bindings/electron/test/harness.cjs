// Runs an application under test inside Electron and does in its page what the test says.
// Usage: electron harness.cjs APP_FOLDER USER_DATA_FOLDER. Each page that was loaded is told by a line {loaded}; each
// line of stdin is a JavaScript expression, evaluated in the page and answered by a line {value} or {error}; the end of
// stdin quits the application.
const { app } = require("electron");
const path = require("path");
const readline = require("readline");

const [appFolder, userData] = process.argv.slice(-2);
app.setPath("userData", userData);
// zeromq's addon crashes Electron 9 while it unloads, after everything is over.
app.on("quit", () => process.reallyExit(0));

// Electron would show a dialog and wait.
process.on("uncaughtException", (error) => {
  console.error(error);
  process.reallyExit(1);
});

const answer = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

app.on("browser-window-created", (_event, { webContents }) => {
  webContents.on("did-finish-load", () => answer({ loaded: webContents.getURL(), electron: process.versions.electron }));
  webContents.once("did-finish-load", () => {
    const input = readline.createInterface({ input: process.stdin });
    input.on("line", (code) => {
      webContents.executeJavaScript(code).then(
        (value) => answer({ value: value === undefined ? null : value }),
        (error) => answer({ error: String(error) }),
      );
    });
    input.on("close", () => app.quit());
  });
});

require(path.join(appFolder, "main.js"));
