"""Closes the calls that a crash of this node has left open (FAULTS C18): their records, and a word to peers.

Nothing rings again: invitations that were opened before the crash are burnt (``trust.replay``), on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from sidecar.app.services.call_effects import Signaling
from sidecar.app.services.journal import Stale
from sidecar.app.services.summary import Summaries
from sidecar.calls.notes import Goodbye, LiveNote
from sidecar.errors import SidecarError, UnavailableError
from sidecar.log import Logger
from sidecar.schema import EndReason
from sidecar.signaling.messages import ReasonBody

RETRY_S = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Peers give up by themselves 30 s after the crash (D5): later word is of no use."""
TTL_S = 60.0


async def close_stale(
    stale: Iterable[Stale], summaries: Summaries, signaling: Signaling, log: Logger
) -> None:
    """Writes the records at once and returns when the peers were told, as far as they can be."""
    words = []
    for note, seen_ms in stale:
        log.warning("a call was cut off by a crash", call_id=note.call_id, peers=len(note.goodbyes))
        summaries.add_without_media(note.ended(seen_ms))
        words += [_tell(note, goodbye, signaling, log) for goodbye in note.goodbyes]
    await asyncio.gather(*words)


async def _tell(note: LiveNote, goodbye: Goodbye, signaling: Signaling, log: Logger) -> None:
    for delay_s in (*RETRY_S, None):
        try:
            await signaling.send(
                call_id=note.call_id,
                user_id=goodbye.user_id,
                device=goodbye.device,
                kind=goodbye.kind,
                body=ReasonBody(reason=EndReason.APP_GONE.value),
                gen=goodbye.gen,
                session=note.session,
                ttl_s=TTL_S,
                room_id=note.record.room_id,
                domain_id=note.record.domain_id,
            )
        except UnavailableError:
            if delay_s is None:
                log.warning("a peer could not be told of the crash", call_id=note.call_id)
                return
            await asyncio.sleep(delay_s)
        except SidecarError:  # blocked since, or removed: nothing is owed any more
            return
        else:
            return
