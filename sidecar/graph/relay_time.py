"""Learns the time of the connected relays from the ``Date`` of their HTTP answers (DESIGN D3)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from sidecar.clock import Clock
from sidecar.graph import transport
from sidecar.graph.core.netclock import NetworkTime
from sidecar.graph.store import Store

DATE_AGAIN_S = 600.0
_OFFSET_SETTING = "network_offset_ms"


class RelayTime:
    """The offset of the relays' clocks, remembered over a restart. ``clock.network_ms`` follows it."""

    def __init__(self, clock: Clock, store: Store, tls: ssl.SSLContext | None) -> None:
        self._clock = clock
        self._tls = tls
        self._store = store
        self._time = NetworkTime(int(store.setting(_OFFSET_SETTING) or 0))
        self._hurry = asyncio.Event()

    @property
    def offset_ms(self) -> int:
        return self._time.offset_ms

    def steady_ms(self) -> float:
        """This machine's own steady clock."""
        return self._clock.network_ms() - self._time.offset_ms

    def hurry(self) -> None:
        """This machine's clock may have stood still: ask every relay again now."""
        self._hurry.set()
        self._hurry = asyncio.Event()

    async def follow(self, url: str, date: str | None, asked_ms: float) -> None:
        """Compare clocks while the connection lives; ``date`` of the upgrade's own answer, asked for at
        ``asked_ms`` on the steady clock, is the first source."""
        spoken = transport.parse_date(date) if date else None
        sample = None if spoken is None else (spoken, asked_ms, self.steady_ms())
        while True:
            sample = sample or await transport.fetch_date(url, self.steady_ms, self._tls)
            if sample is not None:
                self._time.observe(url, *sample)
                self._store.set_setting(_OFFSET_SETTING, str(self._time.offset_ms))
            sample = None
            hurry = self._hurry
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_AGAIN_S):
                    await hurry.wait()
