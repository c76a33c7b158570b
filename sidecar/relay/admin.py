"""The admin listener: ``/metrics`` for Prometheus, on loopback and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from sidecar.errors import UnavailableError
from sidecar.graph.server import answer
from sidecar.graph.transport import silent_logger

HOST = "127.0.0.1"
METRICS = "/metrics"


class AdminListener:
    """Answers GET with the text of ``metrics()``, where the Host is ours: no other name may lead here."""

    def __init__(self, metrics: Callable[[], str], content_type: str) -> None:
        self._metrics = metrics
        self._content_type = content_type
        self._hosts: frozenset[str] = frozenset()
        self._server: Server | None = None

    async def start(self, port: int) -> str:
        """Bind; returns the base URL. Raises UnavailableError if the port is taken."""
        try:
            self._server = await serve(
                _never, HOST, port, process_request=self._answer, server_header=None, logger=silent_logger()
            )
        except (OSError, OverflowError) as error:
            raise UnavailableError(f"cannot listen on {HOST}:{port}: {error}") from error
        bound = next(iter(self._server.sockets)).getsockname()[1]
        self._hosts = frozenset((f"{HOST}:{bound}", f"localhost:{bound}"))
        return f"http://{HOST}:{bound}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def _answer(self, connection: ServerConnection, request: Request) -> Response:
        if request.headers.get_all("Host") not in ([host] for host in self._hosts):
            return connection.respond(HTTPStatus.FORBIDDEN, "not this host\n")
        if request.path != METRICS:
            return connection.respond(HTTPStatus.NOT_FOUND, "not found\n")
        return answer(connection, self._metrics(), self._content_type)


async def _never(connection: ServerConnection) -> None:
    """No upgrade is ever let through."""
