"""What passed the checks, on its way to the calls: nothing acts twice, also not after a crash (FAULTS C18).

Every burnt nonce is stored, many to a COMMIT. Only an invitation waits for it, because only an invitation
makes a process act that knows nothing of the call; everything else needs a call that no crash survives. It
costs a ring the few milliseconds of one COMMIT, and spares a call in progress all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidecar.app.services.keys import Memory
from sidecar.clock import Clock
from sidecar.log import Logger
from sidecar.signaling.messages import Incoming, Kind

_HANGUPS = frozenset({Kind.CANCEL, Kind.END})


class Arrivals:
    """Hands signals on in the order in which they came, as far as they are of one call; but an invitation
    comes after a hang-up that was found with it, so that a call that is over does not ring (C06)."""

    def __init__(
        self, memory: Memory, on_signal: Callable[[Incoming], None], clock: Clock, log: Logger
    ) -> None:
        self._memory = memory
        self._on_signal = on_signal
        self._clock = clock
        self._log = log
        self._held: dict[tuple[str, str], list[Incoming]] = {}
        """By sender and call: as many as invitations may come in the time of a COMMIT."""

    def take(self, incoming: Incoming) -> None:
        """Stores that this signal has come and hands it on, at once or as soon as it is stored."""
        signal = incoming.signal
        call = (signal.sender.pub, signal.call_id)
        names = [signal.nonce]
        if signal.kind is Kind.INVITE:
            # The other form of an invitation has another nonce but the same call id: after a restart both
            # are old, while a running process must hear both.
            names.append(signal.call_id)
            self._held.setdefault(call, [])
        if call in self._held:
            self._held[call].append(incoming)
        else:
            self._tell(incoming)
        burnt = [(signal.sender.pub, name, signal.expires_at_ms) for name in names]
        self._memory.burn(burnt, self._clock.network_ms(), lambda stored: self._burnt(call, stored))

    def _burnt(self, call: tuple[str, str], stored: bool) -> None:
        if not stored:  # a full disk must not keep calls away
            self._log.warning("nonces could not be stored")
        for incoming in sorted(self._held.pop(call, ()), key=lambda one: one.signal.kind not in _HANGUPS):
            self._tell(incoming)

    def _tell(self, incoming: Incoming) -> None:
        asyncio.get_running_loop().call_soon(self._on_signal, incoming)
