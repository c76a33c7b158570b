"""``aleph-sidecar relay``: flags over a configuration file, then the relay until it is told to end."""

from __future__ import annotations

import argparse
import json

from sidecar import log
from sidecar.app import exit_codes, stdio
from sidecar.app.relay_node import RelayOptions, serve
from sidecar.config import Config, ConfigError, peer_url, resolve
from sidecar.errors import SidecarError, UnavailableError

logger = log.get("cli")


def run(options: argparse.Namespace) -> int:
    """The life of the process; its exit code."""
    stdout = stdio.take_stdout()
    stdio.start_logs("info")
    try:
        if options.no_gun:
            raise ConfigError("--no-gun", "leaves nothing to serve: TURN is not in this version")
        config = _config(options.config)
        peers = tuple(peer_url(url, "--peer") for url in options.peer)
    except SidecarError as error:
        logger.error("cannot start", code=error.code.value, problem=error.message)
        return exit_codes.of(error)
    stdio.start_logs(config.log_level)
    relay = config.relay
    if options.host is not None:
        relay = relay._replace(host=options.host)
    if options.gun_port is not None:
        relay = relay._replace(port=options.gun_port)
    if peers:
        relay = relay._replace(peers=peers)
    node = RelayOptions(relay, options.data, config.network.ca_file, options.parent_pid)
    return serve(node, stdout)


def _config(path: str | None) -> Config:
    if path is None:
        return resolve({})
    try:
        with open(path, encoding="utf-8") as file:
            return resolve(json.load(file))
    except OSError as error:
        raise UnavailableError(f"configuration file {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ConfigError("--config", f"{path} is not JSON") from None
