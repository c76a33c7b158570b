"""What names and what proves in a conference: hashes of what its members know."""

from __future__ import annotations

import hashlib
import hmac


def conference_id(room_id: str, nonce: str, founder: str) -> str:
    """The call id of a conference in a room: SHA-256 in hex over the room, 16 random bytes, and the full key
    of who made it (K01).

    Of two conferences that were made at once everybody finds the same one smaller. It names its founder, who
    moderates; that it was he who made it is in his signature, see ``accounts.founding`` (K09).
    """
    return hashlib.sha256(f"{room_id}|{nonce}|{founder}".encode()).hexdigest()


def proof(key: str, call_id: str, pub: str, device: str) -> str:
    """Shows that a device that joins was given the session's key: HMAC-SHA256 in hex."""
    return hmac.new(bytes.fromhex(key), f"{call_id}|{pub}|{device}".encode(), hashlib.sha256).hexdigest()


def proves(said: str, key: str, call_id: str, pub: str, device: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(said, proof(key, call_id, pub, device))
