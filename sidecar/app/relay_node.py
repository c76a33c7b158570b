"""``aleph-sidecar relay``: the services a node offers to others, under one ready line (DESIGN section 4)."""

from __future__ import annotations

import asyncio
import os
import traceback
from typing import NamedTuple

from sidecar import log
from sidecar.app import exit_codes, stdio
from sidecar.app.handshake import VERSION, encode
from sidecar.app.lifeline import Lifeline
from sidecar.app.lock import acquire, make_private
from sidecar.app.processes.gun_relay import run_gun_relay
from sidecar.app.shutdown import Shutdown
from sidecar.config import RelayConfig
from sidecar.errors import SidecarError
from sidecar.relay.gun_relay import GunRelayConfig

logger = log.get("relay")


class RelayOptions(NamedTuple):
    """What the flags and the configuration file ask for together."""

    relay: RelayConfig
    data_dir: str
    parent_pid: int | None = None


def serve(options: RelayOptions, stdout: int) -> int:
    """Runs the relay to its end; the exit code. The ready line goes to ``stdout`` once the port is bound."""
    try:
        data_dir = os.path.abspath(options.data_dir)
        make_private(data_dir)
        lock = acquire(data_dir)
        try:
            asyncio.run(_live(options, data_dir, stdout))
        finally:
            lock.release()
    except SidecarError as error:
        logger.error("cannot serve", code=error.code.value, problem=error.message)
        return exit_codes.of(error)
    except Exception as error:
        logger.error("crashed", traceback="".join(traceback.format_exception(error))[-1400:])
        return exit_codes.BUG
    return exit_codes.CLEAN


async def _live(options: RelayOptions, data_dir: str, stdout: int) -> None:
    relay = options.relay
    shutdown = Shutdown(on_forced=lambda: None)
    shutdown.listen()
    if options.parent_pid is not None:
        Lifeline(None, options.parent_pid, shutdown.request).start()
    config = GunRelayConfig(host=relay.host, port=relay.port, path=relay.path, data_dir=data_dir)
    stop = asyncio.Event()

    def tell(host: str, port: int) -> None:
        if not stdio.write_once(stdout, ready_line(gun_url(host, port, relay.path), os.getpid())):
            shutdown.request("stdin-eof")

    async def stop_when_wanted() -> None:
        await shutdown.wanted()
        stop.set()

    waiting = asyncio.create_task(stop_when_wanted())
    try:
        await run_gun_relay(config, tell, stop)
    finally:
        waiting.cancel()


def gun_url(host: str, port: int, path: str) -> str:
    """As a peer list names the relay."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"


def ready_line(gun: str | None, pid: int) -> bytes:
    """What is served; null is not."""
    off = dict.fromkeys(("stun", "turn", "turns", "card", "endpoint", "userId", "publicKey", "admin"))
    return encode({"v": VERSION, "ready": True, "pid": pid, "gun": gun, **off})
