"""Channel name -> checked call of a handler: params, permission, result and errors pass here.

A handler gets a ``Client`` and its params as the schema's struct, and returns the schema's result. It may be
a plain function: that is answered in place, without a task. Whatever it raises, a client sees a code and a
message; only ``SidecarError`` chooses them, anything else is ``internal`` with an id that leads to the
traceback in our log.
"""

from __future__ import annotations

import errno
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from types import CoroutineType
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Raw

from sidecar.errors import Code, DeniedError, LocalError, SidecarError, UnavailableError
from sidecar.ipc.wire.directory import Method
from sidecar.log import Logger

_MAX_TRACEBACK = 1400
"""Characters from its end, where the cause is; the log cuts longer text."""

_EMPTY_MAP = b"\x80"
_NIL = b"\xc0"
_NO_ARGS = b"\x90"
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT})
_MISSING = re.compile(r"Object missing required field `(.*)`")
_PATH = re.compile(r"(.*?)(?: - at `(?:key in )?\$(.*)`)?", re.DOTALL)

P = TypeVar("P")
R = TypeVar("R")


class ChannelSpec(Protocol):
    """What a channel's schema says, as far as it concerns this module."""

    @property
    def name(self) -> str: ...
    @property
    def params(self) -> type[msgspec.Struct] | None: ...
    @property
    def stream(self) -> bool: ...
    @property
    def permission(self) -> str | None: ...


class Client:
    """One connection of a front end."""

    def __init__(self, client_id: str, permissions: frozenset[str], *, admitted: bool = True) -> None:
        self.id = client_id
        """Ours, for logs and tables; it says nothing about the connection."""
        self.permissions = permissions
        self.admitted = admitted
        """False until ``system:hello`` has shown a token, where tokens are asked for."""
        self.media_owner = "sidecar"
        """Default of the client's calls (DESIGN D7)."""
        self.label = ""
        """What the client calls itself, for people who read logs."""


class NoParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The params of a channel that takes none: nil or an empty object."""


class Pending(msgspec.Struct, eq=False):
    """A running call: ``await`` its ``result``, pass it through ``encode``."""

    result: Coroutine[Any, Any, Any]
    encode: Callable[[Any], bytes]


class Stream:
    """A running stream: ``async for`` its ``items``, pass each through ``encode``, then ``close`` it."""

    __slots__ = ("_encode", "items")

    def __init__(self, items: AsyncIterator[Any], encode: Callable[[Any], bytes]) -> None:
        self.items = items
        self._encode = encode

    def encode(self, item: Any) -> Raw:
        """One item as it travels; what is encoded already is left alone."""
        return item if type(item) is Raw else Raw(self._encode(item))

    async def close(self) -> None:
        """Lets the source clean up, however the stream ended."""
        close = getattr(self.items, "aclose", None)
        if close is not None:
            await close()


Outcome = Raw | Pending | Stream


class _Entry:
    """One channel, its handler if there is one, and its decoder from the first call on."""

    __slots__ = ("decode", "handler", "open", "permission", "spec", "stream")

    def __init__(self, spec: ChannelSpec, *, open_to_all: bool) -> None:
        self.spec = spec
        self.stream = spec.stream
        self.permission = spec.permission
        self.open = open_to_all
        self.handler: Callable[[Client, Any], Any] | None = None
        self.decode: Callable[[bytes], Any] | None = None


class Registry:
    """All channels of the schema and the handlers given so far; the others answer ``not-implemented``."""

    def __init__(
        self,
        log: Logger,
        new_error_id: Callable[[], str],
        channels: Mapping[str, ChannelSpec] | None = None,
        *,
        open_channels: frozenset[str] = frozenset({"system:hello"}),
    ) -> None:
        """``open_channels`` are those that a client may use before it is admitted."""
        if channels is None:
            from sidecar.schema import CHANNELS

            channels = CHANNELS
        self._log = log
        self._new_error_id = new_error_id
        self._entries = {
            name: _Entry(spec, open_to_all=name in open_channels) for name, spec in channels.items()
        }
        self._encode = msgspec.msgpack.Encoder().encode

    def channel(self, name: str, handler: Callable[[Client, P], object]) -> None:
        """Serves the call ``name``; its handler returns or awaits the result."""
        self._add(name, handler, stream=False)

    def stream(self, name: str, handler: Callable[[Client, P], AsyncIterator[R]]) -> None:
        """Serves the stream ``name``; its handler returns an iterator, which is closed in any case."""
        self._add(name, handler, stream=True)

    def _add(self, name: str, handler: Callable[[Client, Any], Any], *, stream: bool) -> None:
        entry = self._entries[name]
        if entry.spec.stream is not stream or entry.handler is not None:
            raise ValueError(f"{name}: served already, or not a {'stream' if stream else 'call'}")
        entry.handler = handler

    def missing(self) -> list[str]:
        """Channels without a handler, in order."""
        return sorted(name for name, entry in self._entries.items() if entry.handler is None)

    def methods(self) -> dict[str, Method]:
        """What the builtins tell of each channel."""
        return {
            name: Method(name, _describe(entry.spec), entry.spec.params is not None)
            for name, entry in self._entries.items()
        }

    def invoke(self, client: Client, name: str, args: Raw) -> Outcome:
        """Starts one call: an encoded result, one that is awaited, or a stream.

        Raises what ``failure`` turns into an answer, and so may the result or the stream.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise LocalError(f"no channel {name[:64]!r}", code=Code.NOT_IMPLEMENTED)
        if not (entry.open or client.admitted) or entry.permission is not None:
            self._permit(client, entry)
        if entry.handler is None:
            raise LocalError(f"{name} is not implemented", code=Code.NOT_IMPLEMENTED)
        outcome = entry.handler(client, self._params(entry, args))
        if entry.stream:
            return Stream(outcome, self._encode)
        if isinstance(outcome, CoroutineType):
            return Pending(outcome, self._encode)
        return Raw(self._encode(outcome))

    def _permit(self, client: Client, entry: _Entry) -> None:
        if not (entry.open or client.admitted):
            raise DeniedError("say system:hello with a token first", code=Code.POLICY_PERMISSION_MISSING)
        if entry.permission is not None and entry.permission not in client.permissions:
            raise DeniedError(
                f"{entry.spec.name} needs the permission {entry.permission}",
                code=Code.POLICY_PERMISSION_MISSING,
                details={"permission": entry.permission},
            )

    def _params(self, entry: _Entry, args: Raw) -> Any:
        decode = entry.decode
        if decode is None:
            params = entry.spec.params or NoParams
            decode = entry.decode = msgspec.msgpack.Decoder(tuple[params]).decode  # type: ignore[valid-type]
        given = bytes(args)
        if given in (_NO_ARGS, _NIL, b"\x91" + _NIL):
            given = b"\x91" + _EMPTY_MAP
        try:
            (value,) = decode(given)
        except msgspec.ValidationError as error:
            raise invalid_params(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise LocalError("params: damaged or nested too deeply") from None
        return value if entry.spec.params is not None else None

    def failure(self, error: Exception, name: str) -> SidecarError:
        """The error a client is told; an unexpected one is logged with its traceback and told by id only."""
        if isinstance(error, SidecarError) and error.code is not Code.INTERNAL:
            return error
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _SHORTAGES):
            self._log.warning("handler ran short", channel=name, problem=type(error).__name__)
            return UnavailableError("this machine is short of memory, descriptors or disk")
        import traceback

        error_id = self._new_error_id()
        trace = "".join(traceback.format_exception(error))[-_MAX_TRACEBACK:]
        self._log.error("handler failed", error_id=error_id, channel=name, traceback=trace)
        return SidecarError(f"internal error {error_id}", code=Code.INTERNAL, details={"id": error_id})


def invalid_params(problem: str) -> LocalError:
    """The schema's objection with the field it is about, by its path, first."""
    match = _PATH.fullmatch(problem)
    text, path = (match[1], match[2] or "") if match else (problem, "")
    path = path.removeprefix("[0]").removeprefix(".")
    named = _UNKNOWN.fullmatch(text) or _MISSING.fullmatch(text)
    if named:
        path = f"{path}.{named[1]}" if path else named[1]
        text = "unknown" if text.startswith("Object contains") else "missing"
    path = path[:200] or "params"
    return LocalError(f"{path}: {text[:200]}", details={"field": path})


def _describe(spec: ChannelSpec) -> str | None:
    doc = spec.params.__doc__ if spec.params is not None else None
    return doc.strip() if doc else None
