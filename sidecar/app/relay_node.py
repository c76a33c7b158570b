"""``aleph-sidecar relay``: the services a node offers to others, under one ready line (DESIGN section 4)."""

from __future__ import annotations

import asyncio
import os
import resource
import traceback
from typing import NamedTuple

from sidecar import log
from sidecar.app import exit_codes, stdio
from sidecar.app.handshake import VERSION, encode
from sidecar.app.identity_file import load_or_create
from sidecar.app.lifeline import Lifeline
from sidecar.app.lock import acquire, make_private
from sidecar.app.processes.gun_relay import run_gun_relay
from sidecar.app.shutdown import Shutdown
from sidecar.app.system_clock import SystemRandom
from sidecar.config import RelayConfig
from sidecar.errors import SidecarError
from sidecar.graph.admission import ServerLimits
from sidecar.graph.core.router import Limits
from sidecar.relay.gun_relay import GunRelayConfig, Served
from sidecar.trust.identity import Identity

IDENTITY = "identity.json"
SPARE_DESCRIPTORS = 256
"""For the database, peers and everything that is not a client."""

logger = log.get("relay")


class RelayOptions(NamedTuple):
    """What the flags and the configuration file ask for together."""

    relay: RelayConfig
    data_dir: str
    ca_file: str | None = None
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
    stdio.log_lost_errors(asyncio.get_running_loop(), logger)
    shutdown = Shutdown(on_forced=lambda: None)
    shutdown.listen()
    if options.parent_pid is not None:
        Lifeline(None, options.parent_pid, shutdown.request).start()
    identity = load_or_create(os.path.join(data_dir, IDENTITY), SystemRandom())
    config = relay_config(options, data_dir)
    _allow_descriptors(config.server_limits.connections + SPARE_DESCRIPTORS)
    stop = asyncio.Event()

    def tell(served: Served) -> None:
        if not stdio.write_once(stdout, ready_line(served, identity, os.getpid())):
            shutdown.request("stdin-eof")

    async def stop_when_wanted() -> None:
        await shutdown.wanted()
        stop.set()

    waiting = asyncio.create_task(stop_when_wanted())
    try:
        await run_gun_relay(config, tell, stop, identity)
    finally:
        waiting.cancel()


def relay_config(options: RelayOptions, data_dir: str) -> GunRelayConfig:
    """The options in the relay's own terms."""
    relay = options.relay
    limits = relay.limits._asdict()
    return GunRelayConfig(
        host=relay.host,
        port=relay.port,
        path=relay.path,
        data_dir=data_dir,
        peers=relay.peers,
        ca_file=options.ca_file,
        cert_file=relay.cert_file,
        key_file=relay.key_file,
        admin_port=relay.admin_port,
        cache_bytes=int(relay.cache_mb * 1_000_000),
        trusted_addresses=relay.trusted_addresses,
        limits=Limits(**{name: limits[name] for name in Limits.__struct_fields__ if name in limits}),
        server_limits=ServerLimits(**{name: limits[name] for name in ServerLimits.__struct_fields__}),
    )


def _allow_descriptors(wanted: int) -> None:
    """Each client is a descriptor, and many systems start a process with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def ready_line(served: Served, identity: Identity, pid: int) -> bytes:
    """What is served, and by whom; null is not."""
    off = dict.fromkeys(("stun", "turn", "turns", "endpoint"))
    return encode(
        {
            "v": VERSION, "ready": True, "pid": pid, "gun": served.gun, "card": served.card,
            "userId": identity.fingerprint, "publicKey": identity.pub, "admin": served.admin, **off,
        }
    )  # fmt: skip
