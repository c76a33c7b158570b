"""``system:hello``, ``system:health`` and ``system:shutdown``, and who may do what.

``system:web-url`` has no handler: nothing serves browsers yet.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable

from sidecar import log
from sidecar.app.handshake import ClientEntry
from sidecar.errors import Code, DeniedError
from sidecar.ipc.registry import Client, Registry
from sidecar.schema import (
    PROTOCOL,
    SCHEMA_SHA256,
    CallSession,
    Health,
    Hello,
    Permission,
    SelfInfo,
    SystemHelloParams,
    SystemShutdownResult,
)

logger = log.get("system")

FEATURES = ("calls", "recording", "screen-share")
"""What a front end may count on beside the schema."""

EVERY_PERMISSION = frozenset(permission.value for permission in Permission)
"""What the one client of a sidecar without a ``clients`` list may do."""


class Admission:
    """Binds a connection to its entry of the handshake's ``clients`` list."""

    def __init__(self, clients: tuple[ClientEntry, ...] | None) -> None:
        self._clients = clients

    @property
    def open(self) -> bool:
        """Nobody needs a token."""
        return self._clients is None

    @property
    def permissions(self) -> frozenset[str]:
        """Of a client that has not said hello."""
        return EVERY_PERMISSION if self._clients is None else frozenset()

    def admit(self, client: Client, token: str | None) -> None:
        """Gives a client what its token stands for; ``DeniedError`` for one that stands for nothing.

        A client that was admitted may say hello again without a token.
        """
        if self._clients is None or (token is None and client.admitted):
            return
        given = (token or "").encode()
        matching = [entry for entry in self._clients if hmac.compare_digest(entry.token.encode(), given)]
        if not matching:
            raise DeniedError("this token is not known here", code=Code.POLICY_PERMISSION_MISSING)
        client.permissions = matching[0].permissions
        client.admitted = True


class SystemChannels:
    """The handlers; everything they tell comes from the functions they are given."""

    def __init__(
        self,
        *,
        admission: Admission,
        self_info: Callable[[], SelfInfo],
        calls: Callable[[], list[CallSession]],
        seq: Callable[[], int],
        health: Callable[[], Health],
        shutdown: Callable[[], None],
    ) -> None:
        self._admission = admission
        self._self_info = self_info
        self._calls = calls
        self._seq = seq
        self._health = health
        self._shutdown = shutdown

    def register(self, registry: Registry) -> None:
        registry.channel("system:hello", self._hello)
        registry.channel("system:health", self._report)
        registry.channel("system:shutdown", self._stop)

    def _hello(self, client: Client, params: SystemHelloParams) -> Hello:
        self._admission.admit(client, params.token)
        if params.media_owner is not None:
            client.media_owner = params.media_owner.value
        if params.client is not None:
            client.label = params.client
        logger.info("client said hello", client=client.id, label=client.label)
        return Hello(
            protocol=PROTOCOL,
            schema=SCHEMA_SHA256,
            features=list(FEATURES),
            self=self._self_info(),
            calls=self._calls(),
            seq=self._seq(),
        )

    def _report(self, _client: Client, _params: None) -> Health:
        logger.debug("health asked", tasks=len(asyncio.all_tasks()))
        return self._health()

    def _stop(self, client: Client, _params: None) -> SystemShutdownResult:
        logger.info("client asked for the end", client=client.id)
        self._shutdown()
        return SystemShutdownResult(stopping=True)
