"""Who may connect with CURVE: answers libzmq's questions (ZAP, RFC 27) from a list of keys, on the loop."""

from __future__ import annotations

import zmq

from sidecar.ipc.bound import ZAP_DOMAIN, Socket
from sidecar.ipc.zmq_socket import LoopSocket
from sidecar.log import Logger

_VERSION = b"1.0"
_REQUEST_FRAMES = 7


class ZapHandler:
    """Serves the bound REP socket on the running loop; every key that is not on the list is refused."""

    def __init__(self, socket: Socket, allowed: frozenset[bytes], log: Logger) -> None:
        self._socket = socket
        self._allowed = allowed
        self._log = log
        self._loop_socket = LoopSocket(socket, self._receive)
        self.refused = 0

    def close(self) -> None:
        self._loop_socket.close()

    def _receive(self) -> None:
        request = self._socket.recv_multipart(zmq.NOBLOCK)
        request_id = request[1] if len(request) > 1 else b""
        status, text = (b"200", b"") if self._permits(request) else (b"400", b"key not allowed")
        if status != b"200":
            self.refused += 1
            if self.refused & (self.refused - 1) == 0:  # powers of two: libzmq clients try again for ever
                self._log.warning("foreign client refused", count=self.refused)
        self._socket.send_multipart([_VERSION, request_id, status, text, b"", b""], zmq.NOBLOCK)
        self._loop_socket.sent()

    def _permits(self, request: list[bytes]) -> bool:
        """Of (version, request id, domain, address, identity, mechanism, client key)."""
        return (
            len(request) == _REQUEST_FRAMES
            and request[0] == _VERSION
            and request[2] == ZAP_DOMAIN
            and request[5] == b"CURVE"
            and request[6] in self._allowed
        )
