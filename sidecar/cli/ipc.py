"""``aleph-sidecar ipc``: one line in, one line out, then the bridge until the parent is gone."""

from __future__ import annotations

import os

from sidecar import log
from sidecar.app import exit_codes, stdio
from sidecar.app.handshake import parse, read_line, ready_line
from sidecar.app.start import Place, prepare
from sidecar.errors import SidecarError

logger = log.get("cli")


def run() -> int:
    """The life of the process; its exit code."""
    stdout = stdio.take_stdout()
    stdio.start_logs("info")
    try:
        shake = parse(read_line(stdio.STDIN))
        stdio.start_logs(shake.config.log_level)
        if shake.web:
            logger.warning("browsers are not served by this version", field="web")
        place = prepare(shake)
    except SidecarError as error:
        logger.error("cannot start", code=error.code.value, problem=error.message)
        return exit_codes.of(error)
    except KeyboardInterrupt:
        return exit_codes.CLEAN
    try:
        if not stdio.write_once(stdout, _ready(place)):
            return exit_codes.CLEAN  # the parent went while we started
        from sidecar.app.compose import serve

        return serve(shake, place)
    finally:
        place.remove_files()
        place.lock.release()


def _ready(place: Place) -> bytes:
    from sidecar.schema import PROTOCOL, SCHEMA_SHA256

    return ready_line(place.bound.endpoint, os.getpid(), PROTOCOL, SCHEMA_SHA256, place.server_key)
