"""The ``rtc:`` channels as a client meets them, and whole calls over them through the real machines."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from sidecar.app.channels import rtc
from sidecar.app.channels.call import CallChannels
from sidecar.app.services import renderer_media
from sidecar.app.services.call_media import CallMedia
from sidecar.app.services.media_owners import MediaOwners
from sidecar.app.services.renderer_events import own_state
from sidecar.app.services.renderer_media import RendererMedia
from sidecar.calls import events as e
from sidecar.calls.facts import digest
from sidecar.errors import SidecarError
from sidecar.ipc.events import EventHub
from sidecar.ipc.registry import Client, Pending, Registry
from sidecar.log import Logger
from sidecar.media import messages as m
from sidecar.schema import CHANNELS, EndReason, Permission
from sidecar.signaling.messages import AcceptBody, AnswerBody, InviteBody, Kind, OfferBody
from tests.calls_fakes import SOURCES, Bench, FakeMedia, FakeRandom, turn
from tests.calls_lab import ALICE, BOB, CALL, invite, says, signal
from tests.unit.media_sdp_samples import offer as sample

EVERYTHING = frozenset(permission.value for permission in Permission)
OFFER = sample() + "a=end-of-candidates\r\n"
ANSWER = sample(setup="active") + "a=end-of-candidates\r\n"
DEVICE = "peer-device"


class Page:
    """A client of the channels with the events that reached it."""

    def __init__(self, registry: Registry, hub: EventHub, name: str) -> None:
        self.client = Client(name, EVERYTHING)
        self._registry = registry
        self._events = hub.subscribe(self.client)

    async def __call__(self, channel: str, **params: Any) -> Any:
        raw = msgspec.Raw(msgspec.msgpack.encode([params]))
        outcome = self._registry.invoke(self.client, channel, raw)
        done = outcome.encode(await outcome.result) if isinstance(outcome, Pending) else outcome
        return msgspec.msgpack.decode(done)

    async def refused(self, channel: str, **params: Any) -> str:
        with pytest.raises(SidecarError) as caught:
            await self(channel, **params)
        code = caught.value.code.value
        assert code in CHANNELS[channel].errors, f"{channel} may not answer {code}"
        return code

    async def hears(self, *names: str) -> list[Any]:
        """The events that wait, of these names."""
        found = []
        while True:
            try:
                item = msgspec.msgpack.decode(await asyncio.wait_for(anext(self._events), 0.01))
            except TimeoutError:
                return found
            if item["event"] in names:
                found.append(item["data"])


class Lab(Bench):
    """Alice's calls, whose media may be the process's or a page's, and two pages."""

    def __init__(self, tmp_path: Any) -> None:
        super().__init__(tmp_path)
        self.process, self.events = FakeMedia(), EventHub()
        self.hub.emit = self.events.emit  # type: ignore[method-assign]
        self.renderers = RendererMedia(
            self.events,
            m.Configure(),
            on_event=self.on_media,
            on_abandoned=lambda call_id: self.calls.handle(e.End(call_id=call_id, reason=EndReason.APP_GONE)),
            device_of=lambda call_id, user_id: self.calls.board.device_of(call_id, user_id),
            own_state=lambda call_id: own_state(self.calls.board.session(call_id), self.calls.board.user_id),
            log=Logger("renderers"),
        )
        owners = MediaOwners(self.process, self.renderers)
        self.media.on_send = owners.send
        self.call_media = CallMedia(
            self.calls,
            owners,
            sources=SOURCES,
            recordings=tmp_path / "recordings",
            random=FakeRandom(),
            owned=self.renderers,
        )
        registry = Registry(Logger("ipc"), lambda: "error-id")
        CallChannels(self.calls, self.call_media, self.history, lambda: None).register(registry)
        rtc.register(registry, self.renderers)
        self.page, self.other = (Page(registry, self.events, name) for name in ("c1", "c2"))

    def last(self, kind: Kind) -> Any:
        return next(sent for sent in reversed(self.signaling.sent) if sent["kind"] is kind)

    async def called(self) -> str:
        """Alice's page calls Bob: its offer is in the invitation."""
        session = await self.page("call:initiate", userId=BOB, type="video", mediaOwner="renderer")
        (start,) = await self.page.hears("aleph:rtcStart")
        assert (start["userId"], start["gen"], start["role"]) == (BOB, 0, "offerer")
        assert start["iceServers"] == [{"urls": ["stun:127.0.0.1:3478"]}]
        call_id = str(session["id"])
        await self.page("rtc:send-offer", callId=call_id, targetUserId=BOB, sdp=OFFER, gen=0)
        await turn()
        return call_id

    async def talking(self) -> str:
        """The same, taken by Bob and connected."""
        call_id = await self.called()
        body = self.last(Kind.INVITE)["body"]
        assert isinstance(body, InviteBody)
        assert body.sdp is not None
        taken = AcceptBody(sdp=ANSWER, sdp_type="answer", offer_digest=digest(body.sdp))
        self.receive(signal(Kind.ACCEPT, taken, call_id=call_id))
        (answer,) = await self.page.hears("aleph:rtcAnswer")
        assert (answer["fromUserId"], answer["gen"], answer["device"]) == (BOB, 0, DEVICE)
        await self.report(call_id)
        assert self.session(call_id)["state"] == "active"
        return call_id

    async def report(self, call_id: str, state: str = "connected", gen: int = 0, **more: Any) -> None:
        await self.page("rtc:report", callId=call_id, targetUserId=BOB, gen=gen, state=state, **more)

    def session(self, call_id: str) -> dict[str, Any]:
        found = self.calls.board.session(call_id)
        assert found is not None
        return {"state": found.state.value, "reason": found.end_reason and found.end_reason.value}


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path)


# --- whole calls ------------------------------------------------------------------------------------------


async def test_a_page_calls_talks_and_hangs_up(lab: Lab):
    call_id = await lab.talking()
    await lab.report(call_id, rttMs=20, loss=0.01)
    stats = {"participants": [{"userId": BOB, "rttMs": 20, "loss": 0.01}]}
    assert await lab.page("call:stats", callId=call_id) == stats
    await lab.page("call:end", callId=call_id)
    await turn()
    assert lab.last(Kind.END)["body"].reason == "local-hangup"
    assert call_id not in lab.renderers
    assert lab.process.sent == [], "the media process had nothing to do with it"
    assert (
        await lab.page.refused("rtc:report", callId=call_id, targetUserId=BOB, gen=0, state="connected")
        == "call.not-found"
    )


async def test_P02_a_page_that_comes_back_is_told_what_is_muted(lab: Lab):
    call_id = await lab.talking()
    await lab.page("call:mute-audio", callId=call_id, muted=True)
    await lab.page.hears("aleph:mediaStateChange")
    await lab.page("rtc:attach", callId=call_id)
    (told,) = await lab.page.hears("aleph:mediaStateChange")
    assert (told["callId"], told["audioEnabled"], told["videoEnabled"]) == (call_id, False, True)


async def test_a_page_takes_a_call(lab: Lab):
    lab.receive(invite(sdp=OFFER).signal)
    await lab.page("call:accept", callId=CALL, mediaOwner="renderer")
    (start,) = await lab.page.hears("aleph:rtcStart")
    assert (start["gen"], start["role"]) == (0, "answerer")
    assert await lab.page("rtc:attach", callId=CALL) == [start]
    (offer,) = await lab.page.hears("aleph:rtcOffer")
    assert (offer["fromUserId"], offer["device"], offer["offerDigest"]) == (BOB, DEVICE, digest(OFFER))
    answer = {"sdp": ANSWER, "gen": 0, "device": DEVICE, "offerDigest": offer["offerDigest"]}
    await lab.page("rtc:send-answer", callId=CALL, targetUserId=BOB, **answer)
    await turn()
    body = lab.last(Kind.ACCEPT)["body"]
    assert isinstance(body, AcceptBody)
    assert (body.sdp_type, body.offer_digest) == ("answer", digest(OFFER))
    await lab.report(CALL)
    assert lab.session(CALL)["state"] == "active"
    lab.receive(says(Kind.END, EndReason.LOCAL_HANGUP).signal)
    assert lab.session(CALL) == {"state": "ended", "reason": "remote-hangup"}


async def test_the_default_of_a_client_is_its_hello_and_the_param_goes_before_it(lab: Lab):
    lab.page.client.media_owner = "renderer"
    session = await lab.page("call:initiate", userId=BOB, type="audio")
    assert session["id"] in lab.renderers
    await lab.page("call:end", callId=session["id"])
    session = await lab.page("call:initiate", userId=BOB, type="audio", mediaOwner="sidecar")
    assert session["id"] not in lab.renderers
    assert [type(command).__name__ for command in lab.process.sent] == ["OpenCall", "OpenPeer"]


async def test_events_about_connections_reach_the_owner_alone(lab: Lab):
    call_id = await lab.talking()
    assert await lab.other.hears("aleph:rtcStart", "aleph:rtcAnswer") == []
    assert await lab.other.refused("rtc:attach", callId=call_id) == "call.wrong-state"
    offer = {"callId": call_id, "targetUserId": BOB, "sdp": OFFER}
    assert await lab.other.refused("rtc:send-offer", **offer) == "call.wrong-state"
    assert await lab.other.refused("rtc:send-answer", **offer) == "call.wrong-state"
    ice = {"callId": call_id, "targetUserId": BOB, "candidate": json.dumps({"candidate": ""})}
    assert await lab.other.refused("rtc:send-ice", **ice) == "call.wrong-state"
    assert lab.session(call_id)["state"] == "active"


async def test_a_silent_path_becomes_a_new_generation_made_before_the_old_one_breaks(lab: Lab):
    call_id = await lab.talking()
    lab.later(60)
    await lab.report(call_id, silentMs=3000)
    (start,) = await lab.page.hears("aleph:rtcStart")
    assert (start["gen"], start["role"]) == (1, "offerer")
    await lab.report(call_id, silentMs=4000)
    await lab.page("rtc:send-offer", callId=call_id, targetUserId=BOB, sdp=OFFER, gen=1)
    await turn()
    body = lab.last(Kind.OFFER)["body"]
    assert isinstance(body, OfferBody)
    given = AnswerBody(sdp=ANSWER, offer_digest=digest(body.sdp))
    lab.receive(signal(Kind.ANSWER, given, call_id=call_id, gen=1))
    (answer,) = await lab.page.hears("aleph:rtcAnswer")
    assert answer["gen"] == 1
    await lab.report(call_id, gen=1)
    old = {"callId": call_id, "targetUserId": BOB, "gen": 0, "state": "connected"}
    assert await lab.page.refused("rtc:report", **old) == "call.wrong-state"
    assert lab.session(call_id)["state"] == "active"


async def test_a_peer_that_offers_anew_is_answered(lab: Lab):
    lab.receive(invite(sdp=OFFER).signal)
    await lab.page("call:accept", callId=CALL, mediaOwner="renderer")
    await lab.page("rtc:send-answer", callId=CALL, targetUserId=BOB, sdp=ANSWER)
    await lab.report(CALL)
    await lab.page.hears()
    lab.receive(signal(Kind.OFFER, OfferBody(sdp=OFFER), gen=1))
    (start,) = await lab.page.hears("aleph:rtcStart")
    assert (start["gen"], start["role"]) == (1, "answerer")
    stale = {"callId": CALL, "targetUserId": BOB, "sdp": ANSWER, "gen": 0}
    assert await lab.page.refused("rtc:send-answer", **stale) == "call.wrong-state"
    await lab.page("rtc:send-answer", callId=CALL, targetUserId=BOB, sdp=ANSWER, gen=1)
    await lab.report(CALL, gen=1)
    assert lab.session(CALL)["state"] == "active"


# --- own media --------------------------------------------------------------------------------------------


async def test_muting_holding_and_sharing_are_told_by_the_media_state_alone(lab: Lab):
    call_id = await lab.talking()
    await lab.page.hears()
    await lab.page("call:mute-audio", callId=call_id, muted=True)
    await lab.page("call:share-screen", callId=call_id, enabled=True)
    await lab.page("call:hold", callId=call_id)
    await lab.page("call:resume", callId=call_id)
    await lab.page("call:share-screen", callId=call_id, enabled=False)
    states = await lab.page.hears("aleph:mediaStateChange")
    assert {state["userId"] for state in states} == {ALICE}
    flags = [(s["audioEnabled"], s["videoEnabled"], s["screenSharing"]) for s in states]
    assert flags == [
        (False, True, False),
        (False, True, True),
        (False, False, False),
        (False, True, True),
        (False, True, False),
    ]
    record = {"callId": call_id, "mode": "mixed"}
    assert await lab.page.refused("call:record-start", **record) == "call.wrong-state"
    assert lab.process.sent == []
    assert lab.process.asked == []


async def test_the_media_process_may_die_without_calls_of_pages(lab: Lab):
    call_id = await lab.talking()
    lab.on_media(m.MediaLost())
    assert lab.session(call_id)["state"] == "active"


# --- pages that go ------------------------------------------------------------------------------------------


async def test_a_page_that_does_not_come_back_ends_its_call_and_the_peer_learns_why(lab: Lab, monkeypatch):
    monkeypatch.setattr(renderer_media, "GONE_GRACE_S", 0.0)
    call_id = await lab.talking()
    lab.renderers.client_gone("c1")
    await lab.other.hears()
    assert lab.session(call_id) == {"state": "ended", "reason": "app-gone"}
    assert lab.last(Kind.END)["body"].reason == "app-gone"


async def test_another_client_takes_over_what_its_owner_left(lab: Lab):
    call_id = await lab.talking()
    lab.later(60)
    lab.renderers.client_gone("c1")
    assert await lab.other("rtc:attach", callId=call_id) == []
    closed = {"callId": call_id, "targetUserId": BOB, "gen": 0, "state": "closed"}
    assert await lab.page.refused("rtc:report", **closed) == "call.wrong-state"
    await lab.other("rtc:report", **closed)
    (start,) = await lab.other.hears("aleph:rtcStart")
    assert start["gen"] == 1
    assert await lab.other("rtc:attach", callId=call_id) == [start]
    assert lab.session(call_id)["state"] == "active"


async def test_a_page_that_dies_before_the_call_was_taken_takes_the_call_with_it(lab: Lab):
    call_id = await lab.called()
    await lab.report(call_id, "failed")
    await turn()
    assert lab.session(call_id) == {"state": "failed", "reason": "connect-failed"}
    assert lab.last(Kind.CANCEL)


# --- misuse -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "channel", ["rtc:send-offer", "rtc:send-answer", "rtc:send-ice", "rtc:report", "rtc:attach"]
)
async def test_a_call_that_is_not_of_a_page_is_not_found(lab: Lab, channel: str):
    more = {
        "rtc:send-ice": {"candidate": "{}"},
        "rtc:report": {"gen": 0, "state": "connected"},
        "rtc:attach": {},
    }.get(channel, {"sdp": OFFER})
    target = {} if channel == "rtc:attach" else {"targetUserId": BOB}
    session = await lab.page("call:initiate", userId=BOB, type="audio")
    for call_id in (session["id"], "call_none"):
        params = {"callId": call_id, **target, **more}
        assert await lab.page.refused(channel, **params) == "call.not-found"


async def test_what_is_no_description_or_candidate_is_refused_and_loses_nothing(lab: Lab):
    session = await lab.page("call:initiate", userId=BOB, type="audio", mediaOwner="renderer")
    to = {"callId": session["id"], "targetUserId": BOB}
    assert await lab.page.refused("rtc:send-offer", **to, sdp="v=0") == "media.bad-sdp"
    assert await lab.page.refused("rtc:send-offer", **to, sdp="") == "invalid-params"
    assert await lab.page.refused("rtc:send-offer", **to, sdp=OFFER, extra=1) == "invalid-params"
    assert await lab.page.refused("rtc:send-answer", **to, sdp=ANSWER) == "call.wrong-state"
    assert await lab.page.refused("rtc:send-ice", **to, candidate="x" * 5000) == "invalid-params"
    assert await lab.page.refused("rtc:send-ice", **to, candidate="x") == "invalid-params"
    report = {**to, "gen": 0, "state": "connected"}
    assert await lab.page.refused("rtc:report", **report) == "call.wrong-state"
    assert await lab.page.refused("rtc:report", **{**report, "loss": 2}) == "invalid-params"
    await lab.page("rtc:send-offer", **to, sdp=OFFER)
    await turn()
    assert lab.signaling.kinds() == [Kind.INVITE]


async def test_a_client_without_the_permission_may_not(lab: Lab):
    lab.page.client.permissions = frozenset()
    assert await lab.page.refused("rtc:attach", callId=CALL) == "policy.permission-missing"
