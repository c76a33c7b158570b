"""Who may write what: the checks a relay makes before it keeps or forwards a cell (gun.md section 8).

The texts of the errors are gun.js's own, because its clients show them.
"""

from __future__ import annotations

from sidecar.graph.core import leaves, sea
from sidecar.graph.core.nodes import Value, is_link

UNVERIFIED = "Unverified data."
NOT_ITS_HASH = "Data hash not same as hash!"
WRONG_ACCOUNT = "Account not same!"
WRONG_ALIAS = "Alias not same!"


def refusal(soul: str, key: str, value: Value, state: float) -> str | None:
    """Why a cell is refused, None if it may be kept. Public souls, which no rule names, take anything."""
    if soul == "~@":
        return None if is_link(value) == f"~@{key}" else WRONG_ALIAS
    if soul.startswith("~@"):
        return None if is_link(value) == key else WRONG_ALIAS
    owner = sea.soul_pub(soul)
    if owner is not None:
        return _owned(owner, soul, key, value, state)
    if "#" in soul:
        return None if leaves.is_leaf(key, value) or leaves.is_hex_leaf(key, value) else NOT_ITS_HASH
    return None


def _owned(owner: str, soul: str, key: str, value: Value, state: float) -> str | None:
    if key == "pub" and soul == f"~{owner}":
        return None if value == owner else WRONG_ACCOUNT
    return None if sea.verify_value(soul, key, value, state) else UNVERIFIED
