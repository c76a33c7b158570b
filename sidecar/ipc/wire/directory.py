"""What the server says about itself through zerorpc's builtins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from sidecar.errors import Code, LocalError

_PARAMS = "params"
_decode_names = msgspec.msgpack.Decoder(list[str]).decode


class Method(NamedTuple):
    """One channel as a stranger with a zerorpc command line sees it."""

    name: str
    doc: str | None = None
    takes_params: bool = True


class Directory:
    """Answers ``_zerorpc_*``; names and shapes are those of the stock server."""

    def __init__(self, name: str, methods: Mapping[str, Method]) -> None:
        self._name = name
        self._methods = methods
        self._builtins: dict[str, Callable[[list[str]], Any]] = {
            "_zerorpc_ping": lambda args: ["pong", self._name],
            "_zerorpc_name": lambda args: self._name,
            "_zerorpc_list": lambda args: list(self._methods),
            "_zerorpc_inspect": lambda args: self._inspect(),
            "_zerorpc_help": lambda args: self._method(args).doc,
            "_zerorpc_args": lambda args: self._argspec(self._method(args)),
        }
        self.builtins = frozenset(self._builtins)

    def answer(self, method: str, args: Raw) -> Any:
        """The result of one builtin; raises ``LocalError`` for a wrong argument."""
        try:
            names = _decode_names(args)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            names = []
        return self._builtins[method](names)

    def _method(self, args: list[str]) -> Method:
        if len(args) != 1:
            raise LocalError("takes one argument, the name of a channel")
        method = self._methods.get(args[0])
        if method is None:
            raise LocalError("no such channel", code=Code.NOT_IMPLEMENTED)
        return method

    def _argspec(self, method: Method) -> list[Any]:
        """(names, varargs, keywords, defaults), Python 2's ``getargspec``: stock clients print it."""
        return [[_PARAMS], None, None, [None]] if method.takes_params else [[], None, None, None]

    def _inspect(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "methods": {
                method.name: {
                    "args": [{"name": _PARAMS, "default": None}] if method.takes_params else [],
                    "doc": method.doc,
                }
                for method in self._methods.values()
            },
        }
