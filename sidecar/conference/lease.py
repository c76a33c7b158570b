"""The presence of a member in the graph: its account, padded and encrypted, in its own space (DESIGN D3).

It is the one mutable thing: a relay sees a key made for this session, one size and times. SEA signs the
value, so nobody else can write there; the session's key opens it, so only members can read it. It also names
the others that are in: who only looks on, or wants to join, follows a few leases and knows everybody.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from sidecar.clock import Random
from sidecar.errors import RemoteError
from sidecar.graph.core import sea
from sidecar.signaling.messages import MemberInfo

KEY = "lease"
SIZE = 4096
"""Bytes of the padded text: nine accounts of the longest kind."""
OTHERS_MAX = 16


class Lease(msgspec.Struct, frozen=True):
    """What a member says about itself, and whom it knows to be in."""

    info: MemberInfo
    others: Annotated[tuple[MemberInfo, ...], msgspec.Meta(max_length=OTHERS_MAX)] = ()


_decode = msgspec.json.Decoder(Lease).decode


def soul(lease: str) -> str:
    """Where a lease stands; ``lease`` is the public key of its space."""
    return f"~{lease}/lease"


def seal(lease: Lease, key: str, random: Random) -> str:
    """The value to be signed and put; ``key`` is the session's, in hex."""
    text = msgspec.json.encode(lease).decode()
    return sea.encrypt(text.ljust(SIZE), key, random=random)


def unseal(value: Any, key: str, lease: str) -> Lease:
    """What stands in a value whose signature was checked.

    Raises RemoteError ``lease`` for what does not open, is malformed, or names another space.
    """
    text = sea.decrypt(value, key) if isinstance(value, str) and len(value) < 8 * SIZE else None
    try:
        found = _decode(text) if isinstance(text, str) else msgspec.convert(text, Lease)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise RemoteError("lease") from error
    if found.info.lease != lease:
        raise RemoteError("lease")
    return found
