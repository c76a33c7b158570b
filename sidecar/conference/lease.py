"""The presence of a member in the graph: its account, padded and encrypted, in its own space (DESIGN D3).

It is the one mutable thing: a relay sees a key made for this session, one size and times. SEA signs the
value, so nobody else can write there; the session's key opens it, so only members can read it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.clock import Random
from sidecar.errors import RemoteError
from sidecar.graph.core import sea
from sidecar.signaling.messages import MemberInfo

KEY = "lease"
SIZE = 512
"""Bytes of the padded account; a longer one cannot be made of bounded members."""

_decode = msgspec.json.Decoder(MemberInfo).decode


def soul(lease: str) -> str:
    """Where a lease stands; ``lease`` is the public key of its space."""
    return f"~{lease}/lease"


def seal(info: MemberInfo, key: str, random: Random) -> str:
    """The value to be signed and put; ``key`` is the session's, in hex."""
    text = msgspec.json.encode(info).decode()
    return sea.encrypt(text.ljust(SIZE), key, random=random)


def unseal(value: Any, key: str, lease: str) -> MemberInfo:
    """The account in a value whose signature was checked.

    Raises RemoteError ``lease`` for what does not open, is malformed, or names another space.
    """
    text = sea.decrypt(value, key) if isinstance(value, str) and len(value) < 8 * SIZE else None
    try:
        info = _decode(text) if isinstance(text, str) else msgspec.convert(text, MemberInfo)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise RemoteError("lease") from error
    if info.lease != lease:
        raise RemoteError("lease")
    return info
