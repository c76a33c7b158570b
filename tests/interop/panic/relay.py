"""What gun's PANIC tests start in place of gun.js (``ROD_PATH``): ``aleph-sidecar relay`` behind their flags.

Two of them reach into the gun.js relay that they start themselves. A relay in a process of its own needs the
same done here, in what its store does; ``ROD_STORE`` names it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from sidecar.app.processes import gun_relay
from sidecar.cli.main import main
from sidecar.graph.store import Cells, OnDone
from sidecar.relay.gun_relay import GunRelayConfig

open_store = gun_relay._open_store


class Store:
    """The relay's own, but for what a test does to it."""

    def __init__(self, config: GunRelayConfig) -> None:
        self._store: Any = open_store(config)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class NothingKept(Store):
    """4putackdedup turns the relay's storage off and takes every acknowledgement for one of a browser."""

    def write(self, changes: Any, on_done: OnDone) -> None:
        self._store.write(changes, on_done if not changes else lambda stored: None)


class Marked(Store):
    """2getget marks what the relay has cached, to see who answers."""

    def read(self, soul: str) -> Cells:
        cells: Cells = self._store.read(soul)
        if soul == "a" and "hello" in cells:
            cells["hello"] = ("bob_cache", cells["hello"][1])
        return cells


STORES: dict[str, Any] = {"as-is": open_store, "nothing-kept": NothingKept, "marked": Marked}


def arguments(given: list[str]) -> list[str]:
    """``start --port P --sled-storage=false [--peers a,b]`` in our words."""
    words = [part for word in given for part in (word.split("=", 1) if word.startswith("--") else [word])]
    flags = dict(zip(words[1::2], words[2::2], strict=True))
    assert words[0] == "start"
    assert flags.pop("--sled-storage") == "false"
    port, peers = flags.pop("--port"), flags.pop("--peers", "")
    assert not flags
    data = os.path.abspath(f"relay-{port}")
    named = [part for peer in filter(None, peers.split(",")) for part in ("--peer", peer)]
    return ["relay", "--host", "127.0.0.1", "--gun-port", port, "--data", data, *named]


if __name__ == "__main__":
    gun_relay._open_store = STORES[os.environ["ROD_STORE"]]
    main(arguments(sys.argv[1:]))
