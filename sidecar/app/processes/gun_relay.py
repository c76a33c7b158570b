"""The Gun relay's process: stand-alone behind ``aleph-sidecar relay``, or a supervised child.

As a child: one line of JSON (``GunRelayConfig``) on stdin, one line ``{"ready":true,"host","port","gun",
"admin"}`` on stdout, then until stdin ends or SIGTERM comes. It holds no identity, so it serves no card.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from sidecar import log
from sidecar.app import exit_codes, stdio
from sidecar.app.handshake import encode, read_line
from sidecar.app.lifeline import Lifeline
from sidecar.app.system_clock import SystemClock, SystemRandom
from sidecar.config import ConfigError
from sidecar.errors import SidecarError
from sidecar.graph.core.leaves import expires_ms
from sidecar.graph.store import MemoryStore
from sidecar.relay.gun_relay import DATABASE, GunRelay, GunRelayConfig, Served
from sidecar.storage.sqlite import SqliteStore
from sidecar.trust.identity import Identity

logger = log.get("gun-relay")


async def run_gun_relay(
    config: GunRelayConfig,
    on_ready: Callable[[Served], None],
    stop: asyncio.Event,
    identity: Identity | None = None,
) -> None:
    """Serve until ``stop`` is set; ``on_ready`` is told once the port is bound. SIGHUP: new certificate.

    Raises UnavailableError if a port is taken or a file cannot be used, LocalError for bad configuration.
    """
    store = _open_store(config)
    try:
        relay = GunRelay(
            config, store, identity=identity, clock=SystemClock(), random=SystemRandom(), log=logger
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, relay.reload_certificate)
        try:
            on_ready(await relay.start())
            await stop.wait()
        finally:
            await relay.stop()
    finally:
        if isinstance(store, SqliteStore):
            store.close()


def _open_store(config: GunRelayConfig) -> SqliteStore | MemoryStore:
    if config.data_dir is None:
        return MemoryStore()
    path = Path(config.data_dir) / DATABASE
    call_soon = asyncio.get_running_loop().call_soon_threadsafe
    return SqliteStore(path, expires_ms=expires_ms, call_soon=call_soon, cache_bytes=config.cache_bytes)


def main() -> int:
    """The life of the child; its exit code."""
    stdout = stdio.take_stdout()
    stdio.start_logs("info")
    try:
        asyncio.run(_run_child(stdout))
    except SidecarError as error:
        logger.error("relay failed", code=error.code.value, problem=error.message)
        return exit_codes.of(error)
    return exit_codes.CLEAN


async def _run_child(stdout: int) -> None:
    try:
        config = msgspec.json.decode(read_line(stdio.STDIN), type=GunRelayConfig)
    except msgspec.MsgspecError as error:
        raise ConfigError("relay", str(error)) from None
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    stdio.log_lost_errors(loop, logger)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    Lifeline(stdio.STDIN, None, lambda _: _set_from_thread(loop, stop)).start()

    def tell(served: Served) -> None:
        line = {name: value for name, value in served._asdict().items() if name != "card"}
        if not stdio.write_once(stdout, encode({"ready": True, **line})):
            stop.set()

    await run_gun_relay(config, tell, stop)


def _set_from_thread(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(event.set)
    except RuntimeError:  # the loop has ended first
        return


if __name__ == "__main__":
    sys.exit(main())
