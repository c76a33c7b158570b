"""Params, permissions, results and errors of channels, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec import Raw

from sidecar import log
from sidecar.errors import Code, LocalError, RemoteError, SidecarError
from sidecar.ipc.registry import Client, Pending, Registry, Stream, invalid_params
from sidecar.schema import CHANNELS
from sidecar.schema.base import Params


class Point(msgspec.Struct):
    x: int


class GetParams(Params):
    """Gets something."""

    call_id: str
    where: Point | None = None
    tags: tuple[str, ...] = ()


class Spec(NamedTuple):
    name: str
    params: type[msgspec.Struct] | None = GetParams
    stream: bool = False
    permission: str | None = None


SPECS = [
    Spec("get"),
    Spec("void", None),
    Spec("guarded", None, permission="media:camera"),
    Spec("system:hello", None),
    Spec("items", None, stream=True),
    Spec("unserved"),
]


@pytest.fixture
def lines() -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    log.configure(lambda line: out.append(json.loads(line)), lambda: 0, "debug")
    yield out
    log.configure(lambda line: None, lambda: 0, "off")


@pytest.fixture
def registry() -> Registry:
    ids = iter(f"e{n}" for n in range(100))
    return Registry(log.get("ipc"), lambda: next(ids), {spec.name: spec for spec in SPECS})


CLIENT = Client("c1", frozenset())


def invoke(registry: Registry, name: str, *args: Any, client: Client = CLIENT) -> Any:
    outcome = registry.invoke(client, name, Raw(msgspec.msgpack.encode(args)))
    assert isinstance(outcome, Raw)
    return msgspec.msgpack.decode(outcome)


def refusal(registry: Registry, name: str, *args: Any, client: Client = CLIENT) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        registry.invoke(client, name, Raw(msgspec.msgpack.encode(args)))
    return caught.value


def test_params_arrive_as_the_struct_and_results_leave_as_data(registry: Registry) -> None:
    seen: list[Any] = []

    def get(client: Client, params: GetParams) -> Point:
        seen.append((client, params))
        return Point(7)

    registry.channel("get", get)
    assert invoke(registry, "get", {"callId": "a", "where": {"x": 1}}) == {"x": 7}
    assert seen == [(CLIENT, GetParams(call_id="a", where=Point(1)))]


async def test_a_coroutine_is_awaited(registry: Registry) -> None:
    async def get(_: Client, params: GetParams) -> str:
        await asyncio.sleep(0)
        return params.call_id

    registry.channel("get", get)
    outcome = registry.invoke(CLIENT, "get", Raw(msgspec.msgpack.encode([{"callId": "a"}])))
    assert isinstance(outcome, Pending)
    assert msgspec.msgpack.decode(outcome.encode(await outcome.result)) == "a"


@pytest.mark.parametrize("args", [(), (None,), ({},)])
def test_a_channel_without_params_takes_nil_nothing_or_an_empty_object(
    registry: Registry, args: tuple[Any, ...]
) -> None:
    registry.channel("void", lambda _, params: params)
    assert invoke(registry, "void", *args) is None


@pytest.mark.parametrize(
    ("args", "field"),
    [
        (({"callId": 5},), "callId"),
        (({"callId": None},), "callId"),
        ((), "callId"),
        ((None,), "callId"),
        (({},), "callId"),
        (({"callId": "a", "callid": 1},), "callid"),
        (({"callId": "a", "where": {"x": "1"}},), "where.x"),
        (({"callId": "a", "where": {}},), "where.x"),
        (({"callId": "a", "tags": ["a", 1]},), "tags[1]"),
        (({"callId": "a"}, 1), "params"),
        ((5,), "params"),
        (([],), "params"),
    ],
)
def test_I06_wrong_params_name_the_field(registry: Registry, args: tuple[Any, ...], field: str) -> None:
    registry.channel("get", lambda _, params: None)
    error = refusal(registry, "get", *args)
    assert error.code is Code.INVALID_PARAMS
    assert error.details == {"field": field}
    assert error.message.startswith(f"{field}: ")


def test_I06_params_of_a_channel_without_params_are_unknown(registry: Registry) -> None:
    registry.channel("void", lambda _, params: None)
    assert refusal(registry, "void", {"new": 1}).details == {"field": "new"}


@pytest.mark.parametrize(
    "args",
    [
        b"\x91" * 100_000,
        b"\x91\x81\xa6callId\xa1\xff",
        b"\x91\xdd\xff\xff\xff\xff",
        b"\x91\x81\xa6callId\xc7\xff\x05",
        b"\x80",
        b"\xc1",
        b"",
    ],
)
def test_I01_damaged_args_are_invalid_params(registry: Registry, args: bytes) -> None:
    registry.channel("get", lambda _, params: None)
    with pytest.raises(LocalError) as caught:
        registry.invoke(CLIENT, "get", Raw(args))
    assert caught.value.code is Code.INVALID_PARAMS


def test_I01_an_unknown_channel_and_one_without_handler(registry: Registry) -> None:
    assert refusal(registry, "x" * 10_000).code is Code.NOT_IMPLEMENTED
    assert len(refusal(registry, "x" * 10_000).message) < 200
    assert refusal(registry, "unserved", {"callId": 1}).code is Code.NOT_IMPLEMENTED
    assert "unserved" in registry.missing()


def test_a_missing_permission_is_named(registry: Registry) -> None:
    registry.channel("guarded", lambda _, params: 1)
    error = refusal(registry, "guarded")
    assert error.code is Code.POLICY_PERMISSION_MISSING
    assert error.details == {"permission": "media:camera"}
    assert invoke(registry, "guarded", client=Client("c2", frozenset({"media:camera"}))) == 1


def test_I05_before_it_is_admitted_a_client_may_only_say_hello(registry: Registry) -> None:
    stranger = Client("c3", frozenset(), admitted=False)
    registry.channel("void", lambda _, params: 1)
    registry.channel("system:hello", lambda _, params: 2)
    assert refusal(registry, "void", client=stranger).code is Code.POLICY_PERMISSION_MISSING
    assert refusal(registry, "unserved", client=stranger).code is Code.POLICY_PERMISSION_MISSING
    assert invoke(registry, "system:hello", client=stranger) == 2
    stranger.admitted = True
    assert invoke(registry, "void", client=stranger) == 1


def test_an_error_of_ours_is_told_as_it_is(registry: Registry) -> None:
    error = LocalError("no such call", code=Code.CALL_NOT_FOUND, details={"callId": "a"})
    assert registry.failure(error, "get") is error


@pytest.mark.parametrize(
    "error", [ValueError("secret"), RemoteError("forged"), TimeoutError(), SidecarError("x")]
)
def test_I11_anything_else_is_internal_with_an_id_found_in_the_log(
    registry: Registry, lines: list[dict[str, Any]], error: Exception
) -> None:
    told = registry.failure(error, "get")
    assert told.to_wire() == {"code": "internal", "message": "internal error e0", "details": {"id": "e0"}}
    assert [(line["level"], line["error_id"], line["channel"]) for line in lines] == [("error", "e0", "get")]
    assert type(error).__name__ in lines[0]["traceback"]


async def test_a_stream_encodes_its_items_and_closes_its_source(registry: Registry) -> None:
    closed = []

    async def items(_: Client, params: None) -> AsyncIterator[Point | Raw]:
        try:
            yield Point(1)
            yield Raw(b"\x05")
            yield Point(2)
        finally:
            closed.append(True)

    registry.stream("items", items)
    outcome = registry.invoke(CLIENT, "items", Raw(b"\x90"))
    assert isinstance(outcome, Stream)
    iterator = aiter(outcome.items)
    got = [msgspec.msgpack.decode(outcome.encode(await anext(iterator))) for _ in range(2)]
    assert got == [{"x": 1}, 5]
    await outcome.close()
    assert closed == [True]


def test_a_handler_is_given_once_and_of_the_right_kind(registry: Registry) -> None:
    registry.channel("get", lambda _, params: None)
    for wrong in ("get", "items"):
        with pytest.raises(ValueError, match=wrong):
            registry.channel(wrong, lambda _, params: None)
    with pytest.raises(ValueError, match="void"):
        registry.stream("void", lambda _, params: aiter(()))
    with pytest.raises(KeyError):
        registry.channel("nix", lambda _, params: None)


def test_every_channel_of_the_schema_can_be_served() -> None:
    registry = Registry(log.get("ipc"), lambda: "e")
    assert registry.missing() == sorted(CHANNELS)
    methods = registry.methods()
    assert methods["events"].takes_params
    assert not methods["call:list-active"].takes_params
    for name, spec in CHANNELS.items():
        client = Client("c", frozenset({spec.permission} if spec.permission else ()))
        assert refusal(registry, name, client=client).code is Code.NOT_IMPLEMENTED


def test_an_objection_without_a_path_is_about_the_params() -> None:
    assert invalid_params("Something new").details == {"field": "params"}
    assert len(invalid_params(f"Object contains unknown field `{'x' * 5000}` - at `$[0]`").message) < 500
