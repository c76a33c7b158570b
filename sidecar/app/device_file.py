"""``device.json`` in the data directory: which device this is, and the private halves of its box keys.

The keys exist to be forgotten (DESIGN D3): rotating rewrites the file without those past their grace. The
published card is kept too, so that a restart puts the same leaf again instead of a new one.
"""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from sidecar.app.identity_file import read_json, write_json
from sidecar.clock import Random
from sidecar.errors import UnavailableError
from sidecar.trust.identity import Identity

NAME = "device.json"
REISSUE_MS = 24 * 3_600_000
"""A card is at most a day old when it is published: readers refuse it at 30 days."""
_DEVICE = re.compile(r"[0-9a-f]{16}\Z")


class PublishedCard(NamedTuple):
    """The leaf of our key card."""

    key: str
    text: str
    issued_at_ms: int


class DeviceFile:
    """This device of the user. Opening it needs no libsodium; the first use of a key does."""

    def __init__(self, path: str, random: Random) -> None:
        """Reads the file, or writes one with a new device id. Raises UnavailableError."""
        self._path = path
        self._random = random
        self._card: PublishedCard | None = None
        self._box: tuple[tuple[bytes, int], ...] = ()
        document = read_json(path)
        if document is None:
            self.device = random.bytes(8).hex()
            self._save()
            return
        try:
            self.device = str(document["deviceId"])
            self._box = tuple((bytes.fromhex(k["private"]), int(k["notAfter"])) for k in document["boxKeys"])
            self._card = _read_card(document["card"])
            usable = _DEVICE.match(self.device) and all(len(private) == 32 for private, _ in self._box)
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed(path) from error
        if not usable:
            raise _malformed(path)

    @classmethod
    def inside(cls, data_dir: str, random: Random) -> DeviceFile:
        """The device of a data directory."""
        return cls(os.path.join(data_dir, NAME), random)

    def box_keys(self, now_ms: int) -> tuple[Any, ...]:
        """The ``BoxKey``s held now, newest first; made, rotated and forgotten as the time says."""
        from sidecar.trust import boxkeys

        held = tuple(boxkeys.make(private, not_after_ms) for private, not_after_ms in self._box)
        if not boxkeys.due(held, now_ms):
            return held
        rotated = boxkeys.rotate(held, now_ms, self._random.bytes(32))
        self._box = tuple((key.private, key.not_after_ms) for key in rotated)
        self._card = None
        self._save()
        return rotated

    def card(self, identity: Identity, now_ms: int) -> PublishedCard:
        """The card to publish now: the last one until it is a day old or the keys have changed."""
        from sidecar.graph.core.leaves import make_key
        from sidecar.trust import boxkeys, cards

        keys = boxkeys.usable(self.box_keys(now_ms), now_ms)
        last = self._card
        fresh = last is not None and 0 <= now_ms - last.issued_at_ms < REISSUE_MS
        if last is None or not fresh or f'"{identity.pub}"' not in last.text:
            text = cards.issue(identity, self.device, keys, now_ms)
            last = self._card = PublishedCard(make_key(self._random.bytes(16), text), text, now_ms)
            self._save()
        return last

    def _save(self) -> None:
        document = {
            "v": 1,
            "deviceId": self.device,
            "boxKeys": [{"private": private.hex(), "notAfter": at_ms} for private, at_ms in self._box],
            "card": list(self._card) if self._card else None,
        }
        write_json(self._path, document, self._random, replace=True)


def _read_card(saved: Any) -> PublishedCard | None:
    if not saved:
        return None
    key, text, issued_at_ms = saved
    return PublishedCard(str(key), str(text), int(issued_at_ms))


def _malformed(path: str) -> UnavailableError:
    return UnavailableError(f"{path}: not the file of a device", details={"path": path})
