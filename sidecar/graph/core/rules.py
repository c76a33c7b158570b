"""Who may write what: the checks a relay makes before it keeps or forwards a cell (gun.md section 8).

The texts of the errors are gun.js's own, because its clients show them.
"""

from __future__ import annotations

from sidecar.graph.core import leaves, sea
from sidecar.graph.core.jsjson import stringify
from sidecar.graph.core.nodes import Value, is_link
from sidecar.graph.core.sea_certificates import ReadCell, read_nothing

UNVERIFIED = sea.UNVERIFIED
NOT_ITS_HASH = "Data hash not same as hash!"
WRONG_ACCOUNT = "Account not same!"
WRONG_ALIAS = "Alias not same!"


def refusal(soul: str, key: str, value: Value, state: float, read: ReadCell = read_nothing) -> str | None:
    """Why a cell is refused, None if it may be kept. Public souls, which no rule names, take anything.

    ``read`` gives what is kept already: the certificates of an owner may name a block list.
    """
    if soul == "~@":
        return None if is_link(value) == f"~@{key}" else WRONG_ALIAS
    if soul.startswith("~@"):
        return None if is_link(value) == key else WRONG_ALIAS
    owner = sea.soul_pub(soul)
    if owner is not None:
        if key == "pub" and soul == f"~{owner}":
            return None if value == owner else WRONG_ACCOUNT
        return sea.objection(soul, key, value, state, read)
    if "#" in soul:
        text = value if isinstance(value, str) else stringify(value)
        return None if leaves.is_leaf(key, text) or leaves.is_hex_leaf(key, text) else NOT_ITS_HASH
    return None
