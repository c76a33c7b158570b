"""The ``call:`` channels as a client meets them: through the registry, in msgpack, with codes for errors."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.app.channels.call import CallChannels
from sidecar.errors import SidecarError, UnavailableError
from sidecar.ipc.registry import Client, Pending, Registry
from sidecar.log import Logger
from sidecar.media import messages as m
from sidecar.schema import CHANNELS, Permission
from tests.calls_fakes import Bench
from tests.calls_lab import BOB, CALL, invite

EVERYTHING = frozenset(permission.value for permission in Permission)


class Caller:
    """A client of a registry that has the call channels."""

    def __init__(self, bench: Bench) -> None:
        self.registry = Registry(Logger("ipc"), lambda: "error-id")
        self.full = False
        CallChannels(bench.calls, bench.call_media, bench.history, self._check_room).register(self.registry)
        self.client = Client("c1", EVERYTHING)

    def _check_room(self) -> None:
        if self.full:
            raise UnavailableError("full")

    async def __call__(self, name: str, params: Any = None) -> Any:
        outcome = self.registry.invoke(self.client, name, msgspec.Raw(msgspec.msgpack.encode([params])))
        raw = outcome.encode(await outcome.result) if isinstance(outcome, Pending) else outcome
        result = msgspec.msgpack.decode(raw)
        msgspec.convert(result, CHANNELS[name].result)
        return result

    async def refused(self, name: str, params: Any = None) -> str:
        with pytest.raises(SidecarError) as caught:
            await self(name, params)
        code = caught.value.code.value
        assert code in CHANNELS[name].errors, f"{name} may not answer {code}"
        return code


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def call(bench: Bench) -> Caller:
    return Caller(bench)


async def ring(bench: Bench) -> None:
    bench.receive(invite().signal)


async def test_the_life_of_an_outgoing_call(bench: Bench, call: Caller):
    session = await call("call:initiate", {"userId": BOB, "type": "video", "roomId": "r", "domainId": "d"})
    assert (session["state"], session["type"], session["roomId"], session["domainId"]) == (
        "initiating",
        "video",
        "r",
        "d",
    )
    assert session["initiatorId"] == bench.board.user_id
    assert [p["displayName"] for p in session["participants"]] == ["Alice", "Bob"]
    call_id = {"callId": session["id"]}
    assert await call("call:get", call_id) == session
    assert await call("call:list-active") == [session]
    assert await call("call:end", call_id) == {"ended": True}
    assert await call("call:end", call_id) == {"ended": True}
    assert await call("call:list-active") == []
    ended = await call("call:get", call_id)
    assert (ended["state"], ended["endReason"]) == ("ended", "cancelled")


async def test_an_incoming_call_is_accepted_twice_with_one_effect(bench: Bench, call: Caller):
    await ring(bench)
    first = await call("call:accept", {"callId": CALL})
    assert first["state"] == "connecting"
    commands = len(bench.media.sent)
    assert await call("call:accept", {"callId": CALL}) == first
    assert len(bench.media.sent) == commands


async def test_listening_only_sends_nothing(bench: Bench, call: Caller):
    await ring(bench)
    session = await call("call:accept", {"callId": CALL, "listenOnly": True})
    assert bench.media.sent[0].sources == {}
    assert session["participants"][0]["audioEnabled"] is False


async def test_an_incoming_call_is_rejected(bench: Bench, call: Caller):
    await ring(bench)
    assert await call("call:reject", {"callId": CALL, "reason": "busy"}) == {"rejected": True}
    assert await call("call:reject", {"callId": CALL}) == {"rejected": True}
    assert bench.history.records[0].end_reason == "declined"


@pytest.mark.parametrize(
    "name",
    ["call:accept", "call:reject", "call:end", "call:get", "call:stats"],
)
async def test_C15_an_unknown_call_has_a_code(call: Caller, name: str):
    assert await call.refused(name, {"callId": "call_x"}) == "call.not-found"


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("call:mute-audio", {"muted": True}),
        ("call:mute-video", {"muted": False}),
        ("call:share-screen", {"enabled": True}),
        ("call:share-screen", {"enabled": False}),
        ("call:set-device", {"kind": "audioinput", "deviceId": "tone:"}),
        ("call:set-device", {"kind": "audiooutput", "deviceId": "null:"}),
        ("call:record-start", {"mode": "mixed"}),
    ],
)
async def test_the_media_of_an_unknown_or_ended_call_has_a_code(bench: Bench, call: Caller, name, more):
    assert await call.refused(name, {"callId": "call_x", **more}) == "call.not-found"
    session = await call("call:initiate", {"userId": BOB, "type": "audio"})
    await call("call:end", {"callId": session["id"]})
    assert await call.refused(name, {"callId": session["id"], **more}) == "call.wrong-state"


async def test_C14_muting_is_idempotent(bench: Bench, call: Caller):
    session = await call("call:initiate", {"userId": BOB, "type": "video"})
    mute = {"callId": session["id"], "muted": True}
    assert await call("call:mute-audio", mute) == {"muted": True}
    assert await call("call:mute-audio", mute) == {"muted": True}
    assert len([command for command in bench.media.sent if isinstance(command, m.SetMuted)]) == 1
    assert await call("call:mute-video", {**mute, "muted": True}) == {"muted": True}
    assert await call("call:mute-video", {**mute, "muted": False}) == {"muted": False}


async def test_sharing_devices_statistics_and_recording(bench: Bench, call: Caller):
    bench.media.answers = {
        m.ListScreens: [{"id": "screen:0:0"}],
        m.GetStats: {"participants": []},
        m.RecordStart: {"path": "/p"},
        m.RecordStop: {"path": "/p", "durationMs": 7},
    }
    call_id = {"callId": (await call("call:initiate", {"userId": BOB, "type": "video"}))["id"]}
    share = {**call_id, "enabled": True, "fps": 5, "cursor": False}
    assert await call("call:share-screen", share) == {"sharing": True}
    assert bench.media.asked[-1].options == {"fps": 5, "cursor": False}
    assert await call("call:share-screen", {**call_id, "enabled": False}) == {"sharing": False}
    device = {**call_id, "kind": "videoinput", "deviceId": "pattern:"}
    assert await call("call:set-device", device) == {"set": True}
    speaker = {**call_id, "kind": "audiooutput", "deviceId": "null:"}
    assert await call("call:set-device", speaker) == {"set": True}
    assert await call("call:stats", call_id) == {"participants": []}
    started = await call("call:record-start", {**call_id, "mode": "mixed"})
    stopped = await call("call:record-stop", {"recordingId": started["recordingId"]})
    assert stopped == {"path": "/p", "durationMs": 7}
    assert await call.refused("call:record-stop", {"recordingId": "other"}) == "call.not-found"


async def test_what_cannot_be_is_refused_by_code(bench: Bench, call: Caller):
    assert await call.refused("call:initiate", {"userId": "f" * 16, "type": "audio"}) == "invalid-params"
    assert await call.refused("call:initiate", {"userId": "x" * 1000, "type": "audio"}) == "invalid-params"
    assert await call.refused("call:initiate", {"userId": BOB, "type": "smell"}) == "invalid-params"
    session = await call("call:initiate", {"userId": BOB, "type": "audio"})
    again = {"userId": BOB, "type": "audio"}
    assert await call.refused("call:initiate", again) == "call.wrong-state"
    sound = {"callId": session["id"], "enabled": True, "audio": True}
    assert await call.refused("call:share-screen", sound) == "not-implemented"
    speaker = {"callId": session["id"], "kind": "audiooutput", "deviceId": "pulse:x"}
    assert await call.refused("call:set-device", speaker) == "media.no-device"


async def test_a_machine_without_room_refuses_new_calls_and_keeps_old_ones(bench: Bench, call: Caller):
    await ring(bench)
    call.full = True
    assert await call.refused("call:initiate", {"userId": BOB, "type": "audio"}) == "resource"
    assert await call.refused("call:accept", {"callId": CALL}) == "resource"
    assert bench.board.session(CALL).state == "ringing"
    assert await call("call:reject", {"callId": CALL}) == {"rejected": True}


@pytest.mark.parametrize(
    ("kind", "permission"), [("audioinput", "media:microphone"), ("videoinput", "media:camera")]
)
async def test_a_device_needs_the_permission_of_its_kind(bench: Bench, call: Caller, kind, permission):
    session = await call("call:initiate", {"userId": BOB, "type": "audio"})
    call.client.permissions = EVERYTHING - {permission}
    device = {"callId": session["id"], "kind": kind, "deviceId": "null:"}
    assert await call.refused("call:set-device", device) == "policy.permission-missing"


def test_every_channel_of_this_version_is_served(call: Caller):
    served = {name for name in CHANNELS if name.startswith("call:")} - set(call.registry.missing())
    assert served == {
        "call:initiate", "call:accept", "call:reject", "call:end", "call:get", "call:list-active",
        "call:mute-audio", "call:mute-video", "call:share-screen", "call:set-device", "call:stats",
        "call:record-start", "call:record-stop", "call:hold", "call:resume", "call:history",
    }  # fmt: skip


async def test_every_end_leaves_a_line_newest_first(bench: Bench, call: Caller):
    await ring(bench)
    await call("call:reject", {"callId": CALL})
    session = await call("call:initiate", {"userId": BOB, "type": "audio"})
    await call("call:end", {"callId": session["id"]})
    records = (await call("call:history"))["records"]
    assert [(r["callId"], r["direction"], r["endReason"]) for r in records] == [
        (session["id"], "outgoing", "cancelled"),
        (CALL, "incoming", "declined"),
    ]
    assert (await call("call:history", {"limit": 1}))["records"] == records[:1]
    assert (await call("call:history", {"before": 1}))["records"] == []
