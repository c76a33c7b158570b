"""Everything a client can make us keep, bounded."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Bounds of the server; a request over one of them gets a coded error, never silence."""

    request_bytes: int = 1024 * 1024
    """A request above this gets ``too-large``; the connection lives (DESIGN section 6)."""
    clients: int = 64
    channels_per_client: int = 512
    """Calls and streams of one client that are open at once; above, ``resource``."""
    channels: int = 2048
    """The same for all clients together."""
    outbox_bytes: int = 64 * 1024 * 1024
    """Per client: answers that wait for it to read; an answer above this becomes ``resource``."""
    outbox_total_bytes: int = 128 * 1024 * 1024
    outbox_refuse: int = 1024
    """Waiting answers of one client above which its new requests get ``resource``."""
    outbox_drop: int = 2048
    """Waiting answers of one client above which its new requests are not read."""
    stalled_s: float = 30.0
    """Seconds without one answer taken, while some wait, after which a client counts as gone."""
