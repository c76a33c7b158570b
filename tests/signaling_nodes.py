"""Users' signaling over real sockets, and the signals of a whole call between two of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from sidecar.signaling.messages import AcceptBody, InviteBody, Kind
from sidecar.trust.identity import Identity
from tests.graph_nodes import Skewed, graph_client
from tests.signaling_kit import ALICE, BOB, SESSION, Node, friends

SDP = "v=0\r\n" + "a=candidate:1 1 udp 2130706431 127.0.0.1 50000 typ host\r\n" * 60
ACCEPT = AcceptBody(sdp=SDP, sdp_type="answer", offer_digest="ab" * 32)


@contextlib.asynccontextmanager
async def node(
    url: str, me: Identity, other: Identity, folder: Path, *, skew_ms: int = 0
) -> AsyncIterator[Node]:
    """A user on a relay. The clock is the machine's, wrong by ``skew_ms``, and follows the relay."""
    async with graph_client(url, skew_ms=skew_ms) as client:
        clock = Skewed(skew_ms)
        clock.follow(client.network_offset_ms)
        made = Node(
            client,
            me,
            friends(other),
            folder / me.fingerprint,
            clock=clock,
            seed=int(me.fingerprint, 16) ^ skew_ms,
        )
        await made.service.start()
        try:
            yield made
        finally:
            await made.service.stop()


async def take_call(alice: Node, bob: Node, call_id: str = "call_1", session: str = SESSION) -> float:
    """A call from Alice's invitation to her hearing of its acceptance; seconds."""
    begin = time.perf_counter()
    alice.service.join_session(call_id, session, BOB.fingerprint)
    body = InviteBody(call_type="video", session=session, display_name="Alice", sdp=SDP)
    sending = asyncio.create_task(alice.say(BOB, Kind.INVITE, body, session=None, call_id=call_id))
    rung = await bob.next()
    assert (rung.signal.kind, rung.signal.call_id, rung.contact) == (Kind.INVITE, call_id, True)
    bob.service.join_session(call_id, session, ALICE.fingerprint)
    answering = asyncio.create_task(bob.say(ALICE, Kind.ACCEPT, ACCEPT, session=session, call_id=call_id))
    kinds = {(await alice.next()).signal.kind, (await alice.next()).signal.kind}
    taken = time.perf_counter() - begin
    assert kinds == {Kind.RECEIPT, Kind.ACCEPT}
    await asyncio.gather(sending, answering)
    return taken
