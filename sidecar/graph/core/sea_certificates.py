"""Certificates: leave of an owner for others to write into its user space (gun.md section 8).

The owner signs who (``c``), until when (``e``), where (``w``) and on whose block list nobody may be (``wb``).
A writer puts the certificate beside its own signature: ``{":":value,"~":signature,"+":certificate,"*":pub}``.
``r`` and ``rb``, about reading, bind nobody: gun.js never looks at them, and a relay has no readers it knows.

The expiry is compared with the state of the cell, as in gun.js. A writer can therefore date a cell back; a
relay cannot tell that from an old cell that arrives late, from an outbox or another relay, and must take it.
What differs from gun.js is said at :func:`objection`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from sidecar.graph.core import lex, sea_signing
from sidecar.graph.core.jsjson import stringify

EXPIRED = "Certificate expired."
NOT_COVERED = "Certificate verification fail."

ReadCell = Callable[[str, str], tuple[Any, float] | None]
"""(soul, key) -> the cell kept there: where block lists are looked up."""
Policy = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]


def read_nothing(_soul: str, _key: str) -> None:
    """For those who keep nothing, and so have no block list at hand."""


def certify(
    certificant: str,
    policy: Policy,
    authority: Mapping[str, str],
    *,
    expires_ms: float | None = None,
    block: str | None = None,
) -> str:
    """A certificate for one pub, or ``*`` for everybody, under the authority's pair.

    gun.js from npm matches no list of several pubs, so one is issued for each. ``policy`` is matched with
    path and key as in :func:`objection`; ``block`` names the list, a key of the authority's space or a soul
    beginning with ``~``, in which a certificant that may no longer write has the value 1 or true.
    """
    terms: dict[str, Any] = {"c": certificant}
    if expires_ms is not None:
        terms["e"] = expires_ms
    terms["w"] = policy
    if block is not None:
        terms["wb"] = block
    return sea_signing.sign(stringify(terms), authority)


class Write(msgspec.Struct, frozen=True):
    """Who writes, signed already, which cell of whose space; the state in milliseconds."""

    writer: str
    owner: str
    soul: str
    key: str
    state: float


def objection(certificate: Any, write: Write, read: ReadCell) -> str | None:
    """Why this certificate does not cover a write, None if it does. The texts are gun.js's own.

    Unlike in gun.js lists of several pubs count, an expiry that is no number has passed, and a forged
    certificate and one for somebody else are answered.
    """
    terms = sea_signing.verify(certificate, write.owner)
    if not isinstance(terms, dict):
        return NOT_COVERED
    if terms.get("e") is not None and not _is_before(write.state, terms["e"]):
        return EXPIRED
    if not _names(terms.get("c"), write.writer):
        return NOT_COVERED
    return _outside(terms.get("w"), write) or _blocked(terms.get("wb"), write, read)


def _is_before(state: float, expiry: Any) -> bool:
    return isinstance(expiry, (int, float)) and state <= expiry


def _names(certificants: Any, certificant: str) -> bool:
    listed = certificants if isinstance(certificants, list) else [certificants]
    return "*" in listed or certificant in listed


def _outside(policy: Any, write: Write) -> str | None:
    """The first entry that covers the cell decides whether the writer's name must stand in it."""
    path = write.soul.partition("/")[2]
    for entry in policy if isinstance(policy, list) else [policy]:
        if _covers(entry, path, write.key):
            named = write.writer in path or write.writer in write.key
            if path and not named and _forces_name(entry):
                return f'Path "{path}" or key "{write.key}" must contain string "{write.writer}".'
            return None
    return NOT_COVERED


def _covers(entry: Any, path: str, key: str) -> bool:
    """``#`` is matched with the path and ``.`` with the key; ``#``, or an entry without it, also with both.

    So ``.`` narrows less than it seems; but the link to a path, which has the path as its key, needs this.
    """
    parts = (entry.get("#"), entry.get(".")) if isinstance(entry, dict) else (None, None)
    matches = [
        lex.match(text, part) for text, part in zip((path, key), parts, strict=True) if lex.is_truthy(part)
    ]
    whole = f"{path}/{key}" if path else key
    return (bool(matches) and all(matches)) or lex.match(
        whole, parts[0] if lex.is_truthy(parts[0]) else entry
    )


def _forces_name(entry: Any) -> bool:
    forced = entry.get("+") if isinstance(entry, dict) else None
    return isinstance(forced, (str, list)) and "*" in forced


def _blocked(block: Any, write: Write, read: ReadCell) -> str | None:
    name = block.get("#") if isinstance(block, dict) else block
    if not isinstance(name, str) or not name:
        return None
    if not name.startswith("~"):
        link = _plain(read(f"~{write.owner}", name))
        linked = link.get("#") if isinstance(link, dict) else None
        name = linked if isinstance(linked, str) else f"~{write.owner}/{name}"
    blocked = _plain(read(name, write.writer)) in (1, True)
    return f"Certificant {write.writer} blocked." if blocked else None


def _plain(cell: tuple[Any, float] | None) -> Any:
    """The value without its signature; the list was checked when it was kept."""
    value = sea_signing.parse(cell[0]) if cell is not None else None
    return value[":"] if isinstance(value, dict) and ":" in value else value
