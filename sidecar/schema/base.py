"""Bases of the generated structs: what is shared by all values of the wire."""

from __future__ import annotations

import msgspec


class Params(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, rename="camel"
):
    """Params of a channel: closed, so that a misspelt member is an error and not silently without effect.

    An optional member that is absent or null is ``None``.
    """


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Any other object: open, so that an older reader survives a newer writer.

    An optional member that is ``None`` is absent on the wire.
    """
