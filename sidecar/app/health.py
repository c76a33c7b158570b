"""How the node is, in words a front end can show: problems come and go by their code."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sidecar import log
from sidecar.errors import UnavailableError
from sidecar.media.messages import Event, MediaLost, Ready
from sidecar.schema import Health, HealthStatus, Problem, RelayHealth

logger = log.get("health")

RelayView = tuple[str, bool, float | None]
"""URL, whether it is connected, round trip in milliseconds."""


class HealthBoard:
    """Standing problems by code, and the relays as they are when somebody asks."""

    def __init__(self) -> None:
        self._problems: dict[str, str] = {}
        self._relays: Callable[[], Iterable[RelayView]] = lambda: ()
        self._check_room: Callable[[], None] = lambda: None
        self._loop_problem: Callable[[], str | None] = lambda: None

    def watch_relays(self, relays: Callable[[], Iterable[RelayView]]) -> None:
        """From now on ``relays()`` tells how the graph is reached."""
        self._relays = relays

    def watch_room(self, check_room: Callable[[], None]) -> None:
        """From now on ``check_room()`` raises UnavailableError while one more call cannot be carried."""
        self._check_room = check_room

    def watch_loop(self, problem: Callable[[], str | None]) -> None:
        """From now on ``problem()`` says what is wrong with the event loop, if anything was lately."""
        self._loop_problem = problem

    def on_media_event(self, event: Event) -> None:
        """Follows whether media is there."""
        if isinstance(event, Ready):
            self.clear("media.starting", "media.failed")
            logger.info("media ready")
        elif isinstance(event, MediaLost):
            self.raise_problem("media.failed", "media died and is being started again")

    def raise_problem(self, code: str, message: str) -> None:
        self._problems[code] = message

    def clear(self, *codes: str) -> None:
        for code in codes:
            self._problems.pop(code, None)

    def report(self) -> Health:
        relays = [RelayHealth(url=url, connected=up, rtt_ms=rtt) for url, up, rtt in self._relays()]
        problems = dict(self._problems)
        try:
            self._check_room()
        except UnavailableError as error:
            problems[error.code.value] = error.message
        blocked = self._loop_problem()
        if blocked is not None:
            problems["loop.blocked"] = blocked
        if not relays:
            problems["graph.unreachable"] = "no relay is configured: calls need one"
        elif not any(relay.connected for relay in relays):
            problems["graph.unreachable"] = "no relay is connected; it is being tried again"
        return Health(
            status=HealthStatus.DEGRADED if problems else HealthStatus.OK,
            problems=[Problem(code=code, message=message) for code, message in sorted(problems.items())],
            relays=relays,
        )
