"""Media that a front end owns: commands become events to one client, its words those of the media process."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from sidecar.app.services import renderer_link, renderer_media
from sidecar.app.services.media_owners import MediaOwners
from sidecar.app.services.renderer_media import RendererMedia
from sidecar.calls.facts import digest
from sidecar.errors import Code, LocalError
from sidecar.log import Logger
from sidecar.media import messages as m
from sidecar.media.core.sdp import MAX_CANDIDATES
from sidecar.schema import (
    MediaStateChange,
    MediaTrackKind,
    RtcOffer,
    RtcPeerState,
    RtcReportParams,
    RtcSendAnswerParams,
    RtcSendIceParams,
    RtcSendOfferParams,
    RtcStart,
)
from tests.calls_fakes import FakeMedia, turn
from tests.calls_lab import BOB, CALL, CAROL
from tests.unit.media_sdp_samples import offer as sample

OFFER, ANSWER = sample(), sample(setup="active")
DONE = "a=end-of-candidates\r\n"
COMPLETE = OFFER + DONE
OURS, OTHER = "c1", "c2"
HOST = "candidate:7 1 udp 2130706431 192.0.2.9 40000 typ host generation 0 ufrag x"


class Lab:
    """A renderer's media with everything it says noted: ``told`` to clients, ``heard`` by the calls."""

    def __init__(self) -> None:
        self.told: list[tuple[str, msgspec.Struct, str | None]] = []
        self.heard: list[m.Event] = []
        self.news = asyncio.Event()
        self.abandoned: list[str] = []
        self.device: str | None = None
        self.own_state: MediaStateChange | None = None
        self.media = RendererMedia(
            self,
            m.Configure(),
            on_event=self._hear,
            on_abandoned=self._abandon,
            device_of=lambda _, __: self.device,
            own_state=lambda _: self.own_state,
            log=Logger("test"),
        )

    def emit(self, name: str, data: msgspec.Struct, *, to: str | None = None) -> None:
        self.told.append((name, data, to))

    def _hear(self, event: m.Event) -> None:
        self.heard.append(event)
        self.news.set()

    def _abandon(self, call_id: str) -> None:
        self.abandoned.append(call_id)
        self.news.set()

    def take(self) -> list[m.Event]:
        heard, self.heard = self.heard, []
        self.news.clear()
        return heard

    def open(self, gen: int = 0, *, offer: str | None = None, user_id: str = BOB) -> m.PeerRef:
        if CALL not in self.media:
            self.media.send(m.OpenCall(call_id=CALL, sources={}, owner=OURS))
        peer = m.PeerRef(call_id=CALL, user_id=user_id, gen=gen)
        role = m.Role.OFFERER if offer is None else m.Role.ANSWERER
        self.media.send(m.OpenPeer(peer=peer, role=role, remote_sdp=offer))
        return peer

    def offer(self, sdp: str = COMPLETE, gen: int | None = 0, client: str = OURS, **more: Any) -> None:
        said = RtcSendOfferParams(call_id=CALL, target_user_id=BOB, sdp=sdp, gen=gen, **more)
        self.media.describe(client, said)

    def answer(self, sdp: str = ANSWER + DONE, gen: int | None = 0, **more: Any) -> None:
        said = RtcSendAnswerParams(call_id=CALL, target_user_id=BOB, sdp=sdp, gen=gen, **more)
        self.media.describe(OURS, said)

    def ice(self, candidate: str, line: int = 0) -> None:
        text = json.dumps({"candidate": candidate, "sdpMid": str(line), "sdpMLineIndex": line})
        self.media.add_candidate(
            OURS, RtcSendIceParams(call_id=CALL, target_user_id=BOB, candidate=text, gen=0)
        )

    def report(self, state: str = "connected", gen: int = 0, client: str = OURS, **more: Any) -> None:
        said = RtcReportParams(call_id=CALL, target_user_id=BOB, gen=gen, state=RtcPeerState(state), **more)
        self.media.report(client, said)

    def connected(self, gen: int = 0) -> m.PeerRef:
        peer = self.open(gen)
        self.offer(gen=gen)
        self.report(gen=gen)
        self.take()
        return peer

    def refused(self, what: Any, *args: Any, code: Code = Code.CALL_WRONG_STATE, **more: Any) -> LocalError:
        before = list(self.heard)
        with pytest.raises(LocalError) as caught:
            what(*args, **more)
        assert caught.value.code is code
        assert self.heard == before, "a refusal changes nothing"
        return caught.value


@pytest.fixture
def lab() -> Lab:
    return Lab()


# --- making a connection ----------------------------------------------------------------------------------


async def test_P02_a_page_that_gets_a_call_that_is_muted_is_told_so_first(lab: Lab):
    lab.own_state = MediaStateChange(
        call_id=CALL, user_id=BOB, audio_enabled=False, video_enabled=True, screen_sharing=False
    )
    muted = (MediaTrackKind.AUDIO,)
    lab.media.send(m.OpenCall(call_id=CALL, sources={}, muted=muted, owner=OURS))
    lab.open()
    assert [name for name, _, _ in lab.told] == ["aleph:mediaStateChange", "aleph:rtcStart"]
    assert lab.told[0] == ("aleph:mediaStateChange", lab.own_state, OURS)


async def test_an_offerer_is_told_to_start_and_its_offer_is_the_local_description(lab: Lab):
    peer = lab.open()
    ((name, data, to),) = lab.told
    assert (name, to) == ("aleph:rtcStart", OURS)
    assert isinstance(data, RtcStart)
    assert (data.call_id, data.user_id, data.gen, data.role.value) == (CALL, BOB, 0, "offerer")
    lab.offer()
    (described,) = lab.take()
    assert isinstance(described, m.LocalDescription)
    assert (described.peer, described.type) == (peer, "offer")
    assert described.sdp.count("a=candidate:") == 2, "said once, in the first section"
    lab.media.send(m.ApplyAnswer(peer=peer, sdp=ANSWER))
    name, data, to = lab.told[-1]
    assert (name, to) == ("aleph:rtcAnswer", OURS)
    lab.report()
    assert lab.take() == [m.PeerConnected(peer=peer)]


async def test_an_answerer_is_given_the_offer_and_names_it_in_the_answer(lab: Lab):
    lab.device = "bobs-device"
    peer = lab.open(offer=OFFER)
    assert [name for name, _, _ in lab.told] == ["aleph:rtcStart", "aleph:rtcOffer"]
    data = lab.told[1][1]
    assert isinstance(data, RtcOffer)
    assert (data.from_user_id, data.gen, data.device) == (BOB, 0, "bobs-device")
    assert data.offer_digest == digest(OFFER)
    lab.refused(lab.answer, offer_digest="0" * 64)
    lab.refused(lab.offer)
    lab.answer(offer_digest=data.offer_digest, device="bobs-device")
    (described,) = lab.take()
    assert isinstance(described, m.LocalDescription)
    assert (described.peer, described.type) == (peer, "answer")


async def test_candidates_one_by_one_are_put_into_the_description(lab: Lab):
    lab.open()
    lab.ice(HOST)
    lab.offer(OFFER)
    assert lab.take() == [], "its candidates are still coming"
    lab.ice(HOST.replace("40000", "40001"))
    lab.ice(HOST.replace("40000", "40002"), line=1)
    lab.ice(HOST.replace("192.0.2.9", "4d4c-1b.local"))
    lab.ice(HOST.replace(" udp ", " tcp "))
    lab.ice("")
    (described,) = lab.take()
    assert isinstance(described, m.LocalDescription)
    assert described.sdp.count("a=candidate:") == 4
    assert " 40001 " in described.sdp
    assert described.sdp.count("a=end-of-candidates") == 1
    lab.ice(HOST.replace("40000", "40003"))
    assert lab.take() == [], "too late, and no reason to complain"


async def test_a_description_is_not_kept_for_ever_by_candidates_that_do_not_end(lab: Lab, monkeypatch):
    monkeypatch.setattr(renderer_link, "GATHER_S", 0.0)
    lab.open()
    lab.offer(OFFER)
    await lab.news.wait()
    (described,) = lab.take()
    assert isinstance(described, m.LocalDescription)
    lab.ice("")
    assert lab.take() == []


async def test_the_end_of_candidates_may_come_before_the_description(lab: Lab):
    lab.open()
    lab.ice("")
    lab.offer(OFFER)
    assert len(lab.take()) == 1


async def test_candidates_are_counted(lab: Lab):
    lab.open()
    for n in range(MAX_CANDIDATES):
        lab.ice(HOST.replace("40000", str(40000 + n)))
    lab.ice(HOST)
    lab.refused(lab.ice, HOST.replace("40000", "50000"))
    lab.offer()
    (described,) = lab.take()
    assert isinstance(described, m.LocalDescription)
    assert described.sdp.count("a=candidate:") == MAX_CANDIDATES


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", '{"candidate":7}', "[" * 4000, '{"candidate":"\ud800"']
)
async def test_a_candidate_that_is_none_is_invalid(lab: Lab, text: str):
    lab.open()
    said = RtcSendIceParams(call_id=CALL, target_user_id=BOB, candidate=text)
    lab.refused(lab.media.add_candidate, OURS, said, code=Code.INVALID_PARAMS)


@pytest.mark.parametrize(
    "value", ["candidate:", "candidate:\n1 1 udp", "candidate:1 1 udp ² 192.0.2.9 ² typ host"]
)
async def test_M02_a_candidate_that_makes_no_sense_is_dropped(lab: Lab, value: str):
    lab.open()
    lab.ice(value)
    lab.offer()
    (described,) = lab.take()
    assert isinstance(described, m.LocalDescription)
    assert described.sdp.count("a=candidate:") == 2


@pytest.mark.parametrize(
    "sdp",
    [
        "x",
        OFFER.replace("a=ice-ufrag", "a=ice-nothing"),
        OFFER.replace("\r\nm=video", "\r\nm=audio", 1),
        OFFER + "a=x:" + "y" * 70_000,
    ],
)
async def test_M01_a_bad_description_of_our_own_is_refused_and_a_good_one_still_taken(lab: Lab, sdp: str):
    lab.open()
    lab.refused(lab.offer, sdp, code=Code.MEDIA_BAD_SDP)
    lab.offer()
    assert len(lab.take()) == 1


async def test_a_browser_may_offer_all_its_codecs_what_goes_out_stays_small(lab: Lab):
    lab.open()
    noise = "".join(f"a=rtcp-fb:{n} nack pli\r\na=fmtp:{n} profile=1\r\n" for n in range(40, 60)) * 20
    lab.offer(COMPLETE + noise)
    (described,) = lab.take()
    assert isinstance(described, m.LocalDescription)
    assert len(described.sdp) < 6000 < len(noise)


async def test_M01_a_bad_description_of_the_peer_ends_its_connection_and_reaches_no_browser(lab: Lab):
    peer = lab.open(offer="v=0 nonsense")
    await turn()
    (failed,) = lab.take()
    assert isinstance(failed, m.PeerFailed)
    assert (failed.peer, failed.reason) == (peer, "media-failed")
    assert lab.told == []

    other = lab.open(1)
    lab.offer(gen=1)
    lab.take()
    lab.media.send(m.ApplyAnswer(peer=other, sdp=OFFER))
    await turn()
    assert [type(event) for event in lab.take()] == [m.PeerFailed]
    assert [name for name, _, _ in lab.told] == ["aleph:rtcStart"]


# --- generations ------------------------------------------------------------------------------------------


async def test_two_generations_live_side_by_side_until_the_old_one_is_closed(lab: Lab):
    old = lab.connected()
    new = lab.open(1)
    lab.offer(gen=None)
    (described,) = lab.take()
    assert isinstance(described, m.LocalDescription)
    assert described.peer == new, "no generation named is the newest"
    lab.report(gen=0)
    lab.report(gen=1)
    assert lab.take() == [m.PeerConnected(peer=new)]
    lab.media.send(m.ClosePeer(peer=old))
    refusal = lab.refused(lab.report, gen=0)
    assert refusal.details == {"gen": 1}


async def test_S12_a_stale_generation_is_refused_and_changes_nothing(lab: Lab):
    lab.media.send(m.ClosePeer(peer=lab.open(0)))
    lab.open(1)
    for said in (lab.offer, lab.report):
        assert lab.refused(said, gen=0).details == {"gen": 1}
        assert lab.refused(said, gen=7).details == {"gen": 1}
    lab.offer(gen=1)
    lab.take()
    lab.refused(lab.offer, gen=1)


async def test_another_device_of_the_same_user_is_not_the_one_that_is_meant(lab: Lab):
    lab.device = "bobs-device"
    lab.open()
    lab.refused(lab.offer, device="bobs-other-device")
    lab.offer(device="bobs-device")


async def test_connected_needs_a_description(lab: Lab):
    lab.open()
    lab.refused(lab.report)
    lab.report("connecting")
    assert lab.take() == []


# --- state ------------------------------------------------------------------------------------------------


async def test_silence_is_judged_as_the_media_process_judges_it(lab: Lab):
    lab.connected()
    for silent_ms in (0, 2400, 2500, 4000, 5000, 100, 30_000):
        lab.report(silent_ms=silent_ms)
    levels = [event.liveness.value for event in lab.take() if isinstance(event, m.PeerLiveness)]
    assert levels == ["suspect", "reconnecting", "alive", "lost"]


async def test_disconnected_is_suspect_also_without_numbers(lab: Lab):
    peer = lab.connected()
    lab.report("disconnected")
    lab.report("disconnected")
    assert lab.take() == [m.PeerLiveness(peer=peer, liveness=m.Liveness.SUSPECT)]


@pytest.mark.parametrize("state", ["failed", "closed"])
async def test_a_connection_that_died_is_told_once_and_tried_anew(lab: Lab, state: str):
    peer = lab.connected()
    lab.report(state)
    suspect, failed = lab.take()
    assert suspect == m.PeerLiveness(peer=peer, liveness=m.Liveness.SUSPECT)
    assert isinstance(failed, m.PeerFailed)
    assert failed.reason == "connection-lost"
    lab.refused(lab.report, state)

    lab.open(1)
    lab.report(state, gen=1)
    (failed,) = lab.take()
    assert isinstance(failed, m.PeerFailed)
    assert failed.reason == "connect-failed"


async def test_a_page_that_reports_nothing_any_more_has_lost_its_connection(lab: Lab, monkeypatch):
    monkeypatch.setattr(renderer_link, "UNREPORTED_S", 0.0)
    lab.connected()
    await lab.news.wait()
    lab.news.clear()
    await turn()
    failed = lab.take()[-1]
    assert isinstance(failed, m.PeerFailed)
    assert failed.detail == "no reports"


async def test_measurements_of_everybody_outlive_their_connections(lab: Lab):
    peer = lab.connected()
    lab.report(rtt_ms=12.5, loss=0.25)
    lab.report(rtt_ms=13.5)
    measured = {"participants": [{"userId": BOB, "rttMs": 13.5, "loss": 0.25}]}
    assert await lab.media.request(m.GetStats(request_id=1, call_id=CALL)) == measured
    lab.media.send(m.ClosePeer(peer=peer))
    lab.open(user_id=CAROL)
    lab.media.send(m.CloseCall(call_id=CALL))
    await turn()
    assert lab.take() == [m.CallClosed(call_id=CALL, stats=measured)]
    assert CALL not in lab.media


# --- whose call ---------------------------------------------------------------------------------------------


async def test_another_client_can_do_nothing_to_a_call_that_is_not_its_own(lab: Lab):
    lab.open()
    lab.refused(lab.offer, client=OTHER)
    lab.refused(lab.report, client=OTHER)
    lab.refused(lab.media.attach, OTHER, CALL)
    lab.refused(lab.media.attach, OURS, "call_other", code=Code.CALL_NOT_FOUND)
    lab.media.client_gone(OTHER)
    lab.offer()
    assert len(lab.take()) == 1


async def test_attaching_names_what_is_to_be_made_and_repeats_the_offer(lab: Lab):
    lab.open(offer=OFFER)
    lab.told.clear()
    (start,) = lab.media.attach(OURS, CALL)
    assert (start.user_id, start.gen, start.role.value) == (BOB, 0, "answerer")
    assert [(name, to) for name, _, to in lab.told] == [("aleph:rtcOffer", OURS)]
    lab.answer()
    assert lab.media.attach(OURS, CALL) == []


async def test_I03_a_call_that_comes_to_a_client_that_is_gone_waits_for_another(lab: Lab, monkeypatch):
    monkeypatch.setattr(renderer_media, "GONE_GRACE_S", 0.0)
    lab.media.client_gone(OURS)
    lab.open()
    lab.media.attach(OTHER, CALL)
    lab.offer(client=OTHER)
    lab.media.send(m.CloseCall(call_id=CALL))
    lab.open()
    await lab.news.wait()
    while not lab.abandoned:
        lab.news.clear()
        await lab.news.wait()
    assert lab.abandoned == [CALL]


async def test_I03_a_client_that_comes_back_in_time_keeps_its_calls(lab: Lab, monkeypatch):
    peer = lab.connected()
    lab.media.client_gone(OURS)
    assert lab.media.attach(OTHER, CALL) == []
    lab.refused(lab.report)
    lab.report(client=OTHER)
    assert lab.take() == [], "it still has the connection"

    monkeypatch.setattr(renderer_link, "CLAIM_S", 0.0)
    lab.media.attach(OTHER, CALL)
    await lab.news.wait()
    assert lab.take()[-1] == m.PeerFailed(peer=peer, reason="connection-lost", detail="no reports")
    lab.open(1)
    assert lab.told[-1][2] == OTHER


async def test_a_client_that_stays_away_leaves_its_calls_to_be_ended(lab: Lab, monkeypatch):
    monkeypatch.setattr(renderer_media, "GONE_GRACE_S", 0.0)
    lab.open()
    lab.media.client_gone(OURS)
    lab.media.client_gone(OURS)
    await lab.news.wait()
    assert lab.abandoned == [CALL]


async def test_an_ended_call_has_no_timers_left(lab: Lab, monkeypatch):
    monkeypatch.setattr(renderer_media, "GONE_GRACE_S", 0.0)
    monkeypatch.setattr(renderer_link, "GATHER_S", 0.0)
    lab.open()
    lab.offer(OFFER)
    lab.media.client_gone(OURS)
    lab.media.send(m.CloseCall(call_id=CALL))
    lab.media.send(m.CloseCall(call_id=CALL))
    await turn()
    await asyncio.sleep(0)
    assert [type(event) for event in lab.take()] == [m.CallClosed]
    assert lab.abandoned == []


async def test_words_about_calls_that_are_over_are_ignored(lab: Lab):
    peer = m.PeerRef(call_id=CALL, user_id=BOB, gen=0)
    for command in (
        m.OpenPeer(peer=peer, role=m.Role.OFFERER),
        m.ApplyAnswer(peer=peer, sdp=ANSWER),
        m.ClosePeer(peer=peer),
        m.CloseCall(call_id=CALL),
    ):
        lab.media.send(command)
    lab.open()
    lab.media.send(m.ApplyAnswer(peer=m.PeerRef(call_id=CALL, user_id=BOB, gen=5), sdp=ANSWER))
    assert [name for name, _, _ in lab.told] == ["aleph:rtcStart"]


# --- one door ---------------------------------------------------------------------------------------------


async def test_commands_go_to_whoever_has_the_media_of_their_call(lab: Lab):
    process = FakeMedia()
    process.answers[m.ListDevices] = []
    owners = MediaOwners(process, lab.media)
    owners.send(m.OpenCall(call_id=CALL, sources={}, owner=OURS))
    owners.send(m.OpenCall(call_id="call_two", sources={}))
    ours = m.PeerRef(call_id=CALL, user_id=BOB, gen=0)
    theirs = m.PeerRef(call_id="call_two", user_id=BOB, gen=0)
    for peer in (ours, theirs):
        owners.send(m.OpenPeer(peer=peer, role=m.Role.OFFERER))
    assert [getattr(command, "call_id", CALL) for command in process.sent] == ["call_two", CALL]
    assert process.sent[1] == m.OpenPeer(peer=theirs, role=m.Role.OFFERER)
    assert [data.call_id for _, data, _ in lab.told if isinstance(data, RtcStart)] == [CALL]
    assert await owners.request(m.ListDevices(request_id=0)) == []
    camera = m.SetSource(request_id=0, call_id=CALL, line=m.Line.CAMERA, device_id="x")
    await owners.request(camera)
    assert process.asked == [m.ListDevices(request_id=0)], "a page chooses its own camera"
    record = m.RecordStart(request_id=0, recording_id="r", call_id=CALL, mode="mixed", directory="/")
    with pytest.raises(LocalError) as caught:
        await owners.request(record)
    assert caught.value.code is Code.CALL_WRONG_STATE
