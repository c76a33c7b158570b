"use strict";
// The zeromq 5 interface that zeromq 6 still carries, from the copy beside the tests.
const { join } = require("node:path");
const tests = join(__dirname, "..", "..", "..", "..");
module.exports = require(require.resolve("zeromq/v5-compat", { paths: [tests] }));
