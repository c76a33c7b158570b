"""Three friends who share rooms, each with a whole node, over a graph in memory."""

from __future__ import annotations

from typing import Any

from sidecar.trust.identity import Identity
from tests.homes import Home, Street
from tests.signaling_kit import ALICE, BOB, user

CAROL = user(4)
ROOM = "room_1"


def room(*people: Identity, room_id: str = ROOM) -> dict[str, Any]:
    members = [who.fingerprint for who in people]
    return {"id": room_id, "members": members, "createdBy": members[0]}


class Town(Street):
    """Alice, Bob and Carol are friends and share a room; Mallory is nobody."""

    async def people(self, *everyone: Identity) -> list[Home]:
        rooms = [room(ALICE, BOB, CAROL), room(ALICE, BOB, room_id="other")]
        return [
            await self.home(me, *(w for w in (ALICE, BOB, CAROL) if w is not me), rooms=rooms)
            for me in everyone
        ]


def people(session: dict[str, Any]) -> dict[str, str]:
    return {person["userId"]: person["state"] for person in session["participants"]}
