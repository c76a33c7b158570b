"""Members of a conference that mean ill: what they say of others, of conferences, and of themselves."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest

from sidecar.calls import effects as cf
from sidecar.calls import events as ce
from sidecar.conference import effects as f
from sidecar.conference import events as e
from sidecar.conference.accounts import founding, signed, signer
from sidecar.conference.ids import conference_id, proof
from sidecar.conference.roster import ACCOUNTS_MAX, DEVICES_MAX
from sidecar.errors import RemoteError
from sidecar.schema import MediaTrackKind
from sidecar.signaling.messages import (
    AnnounceBody,
    EmptyBody,
    JoinBody,
    Kind,
    MemberInfo,
    Party,
    ReasonBody,
    Signal,
    TargetBody,
)
from sidecar.trust import identity
from tests.sim.scene import ROOM, Scene


class Trio:
    """Ann has made a conference that Bob and Cy are in."""

    def __init__(self) -> None:
        self.scene = Scene("ann", "bob", "cy")
        self.call = self.scene.meet("ann")
        for name in ("bob", "cy"):
            self.scene.at(3.0, self.scene.join, name, self.call)
        self.scene.run(15.0)
        self.seq = 1_000

    def user(self, name: str) -> str:
        return self.scene.nodes[name].user_id

    def member(self, at: str):
        return self.scene.nodes[at].exchange.hall.get(self.call)

    def made(self, by: str, nonce: str, **changed: Any) -> AnnounceBody:
        """The announcement of a conference that ``by`` has really made."""
        identity = self.scene.nodes[by].owner.account.identity
        body = AnnounceBody(
            call_type="audio", session=nonce, key=2 * nonce, nonce=nonce, founder=identity.pub,
            display_name=by, created_at=0, members=[],
        )  # fmt: skip
        body = msgspec.structs.replace(body, **changed)
        text = founding(
            conference_id(ROOM, body.nonce, identity.pub), call_type=body.call_type, session=body.session,
            key=body.key, nonce=body.nonce, created_at=body.created_at,
        )  # fmt: skip
        return msgspec.structs.replace(body, founder_sig=signer(identity)(text))

    def account(self, of: str, **changed: Any) -> MemberInfo:
        """What cy knows of somebody, or something else under the same signature."""
        return msgspec.structs.replace(self.member("cy").roster.get(self.user(of)), **changed)

    def ghost(self, number: int, joined_at: int = 0) -> MemberInfo:
        """A user whom somebody has invented, keys and all."""
        who = identity.generate(bytes([number, 7]) * 16)
        info = MemberInfo(pub=who.pub, device="ghost", joined_at=joined_at, at=self.now_ms())
        return signed(info, self.call, signer(who))

    def now_ms(self) -> int:
        return self.scene.nodes["cy"].clock.network_ms()

    def gossip(self, name: str, *infos: MemberInfo) -> e.Gossip:
        """What cy hears of these."""
        return e.Gossip(
            call_id=self.call,
            user_id=self.user(name),
            ages_ms={},
            members=list(infos),
            network_ms=self.now_ms(),
            invited=[],
        )

    def gossips(self, name: str, *infos: MemberInfo) -> None:
        """Tells cy of these."""
        self.scene.nodes["cy"].hear(self.gossip(name, *infos))

    def arrived(self, name: str, to: str, kind: Kind, body, call: str) -> ce.SignalArrived:
        sender, other = self.scene.nodes[name], self.scene.nodes[to]
        now_ms = other.clock.network_ms()
        self.seq += 1
        signal = Signal(
            kind=kind, call_id=call,
            sender=Party(pub=sender.owner.account.identity.pub, device=sender.owner.device),
            recipient=Party(pub=other.owner.account.identity.pub), body=body,
            epoch="epoch", gen=0, seq=self.seq,
            issued_at_ms=now_ms, expires_at_ms=now_ms + 60_000, nonce=f"{self.seq:032x}", room_id=ROOM,
        )  # fmt: skip
        return ce.SignalArrived(
            signal=signal, user_id=sender.user_id, contact=True, at_ms=now_ms, network_ms=now_ms
        )

    def says(self, name: str, to: str, kind: Kind, body):
        """What ``to`` makes of a signal of ``name``; raises the RemoteError that it is dropped with."""
        other = self.scene.nodes[to]
        arrived = self.arrived(name, to, kind, body, self.call)
        return other.exchange.hall.arrived(arrived, other.clock.monotonic(), busy=False)


@pytest.fixture
def trio() -> Trio:
    return Trio()


def test_K09_only_a_moderator_removes(trio: Trio):
    with pytest.raises(RemoteError, match="not-a-moderator"):
        trio.says("bob", "cy", Kind.REMOVE, TargetBody(trio.user("ann")))
    assert trio.user("ann") in trio.member("cy").members
    trio.says("ann", "cy", Kind.REMOVE, TargetBody(trio.user("bob")))
    assert trio.user("bob") not in trio.member("cy").members


def test_K09_only_a_moderator_mutes(trio: Trio):
    with pytest.raises(RemoteError, match="not-a-moderator"):
        trio.says("bob", "cy", Kind.HUSH, EmptyBody())
    assert MediaTrackKind.AUDIO not in trio.member("cy").me.muted
    trio.says("ann", "cy", Kind.HUSH, EmptyBody())
    assert MediaTrackKind.AUDIO in trio.member("cy").me.muted


def test_K09_who_joins_must_know_the_key(trio: Trio):
    body = JoinBody(info=trio.account("bob"), proof="0" * 64, display_name="Bob")
    with pytest.raises(RemoteError, match="no-proof"):
        trio.says("bob", "cy", Kind.JOIN, body)


def test_K09_nobody_writes_the_lease_of_another(trio: Trio):
    foreign = trio.member("cy").roster.get(trio.user("ann"))
    with pytest.raises(RemoteError, match="foreign-lease"):
        trio.member("cy").handle(
            e.LeaseSeen(call_id=trio.call, user_id=trio.user("bob"), info=foreign, network_ms=0), 0.0
        )


def test_K09_who_tells_of_a_conference_first_is_not_who_made_it(trio: Trio):
    facts = trio.member("bob").facts
    hall = trio.scene.nodes["cy"].exchange.hall
    assert trio.member("cy").facts.initiator_id == trio.user("ann")
    body = trio.made("ann", facts.nonce, session=facts.session, key=facts.key, created_at=facts.created_at)
    trio.scene.end("cy", trio.call)
    del hall._known[trio.call]
    trio.says("bob", "cy", Kind.ANNOUNCE, body)
    assert hall.get(trio.call).facts.initiator_id == trio.user("ann")
    del hall._known[trio.call]
    mine = msgspec.structs.replace(body, founder=trio.scene.nodes["bob"].owner.account.identity.pub)
    with pytest.raises(RemoteError, match="chosen-id"):
        trio.says("bob", "cy", Kind.ANNOUNCE, mine)


def test_K09_who_was_removed_draws_nobody_over_to_a_conference_of_his_own(trio: Trio):
    bob = trio.scene.nodes["bob"].owner.account.identity.pub
    smaller = smaller_than(trio.call, bob)
    body = trio.made("bob", smaller)
    trio.says("ann", "cy", Kind.REMOVE, TargetBody(trio.user("bob")))
    for teller in ("bob", "ann"):
        arrived = trio.arrived(teller, "cy", Kind.ANNOUNCE, body, conference_id(ROOM, smaller, bob))
        with pytest.raises(RemoteError, match="refused-member"):
            trio.scene.nodes["cy"].exchange.hall.arrived(arrived, 0.0, busy=False)
    assert trio.member("cy").joined


def test_K09_gossip_of_somebody_who_is_not_in_is_not_believed(trio: Trio):
    node = trio.scene.nodes["cy"]
    told = trio.gossip("ann", trio.ghost(1))
    node.hear(msgspec.structs.replace(told, user_id="f" * 16, ages_ms={trio.user("ann"): 0}))
    assert set(trio.member("cy").members) == {trio.user("ann"), trio.user("bob")}


def test_S10_a_flood_of_announcements_pushes_out_what_we_only_look_at(trio: Trio):
    node, known_max = trio.scene.nodes["cy"], trio.member("cy").rules.known_max
    hall, bob = node.exchange.hall, trio.scene.nodes["bob"].owner.account.identity.pub
    trio.scene.end("cy", trio.call)
    assert set(trio.member("cy").members) == {trio.user("ann"), trio.user("bob")}, "cy looks on"
    unwatched = set()
    for number in range(2 * known_max):
        nonce = f"{number:032x}"
        arrived = trio.arrived(
            "bob", "cy", Kind.ANNOUNCE, trio.made("bob", nonce), conference_id(ROOM, nonce, bob)
        )
        for effect in node.exchange.handle(arrived, node.clock.monotonic()):
            if isinstance(effect, f.UnwatchLease):
                unwatched.add((effect.call_id, effect.user_id))
    assert len(hall._known) == known_max
    assert unwatched == {(trio.call, trio.user("ann")), (trio.call, trio.user("bob"))}


# --- what is passed on of others -------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["gossip", "announcement", "lease"])
@pytest.mark.parametrize(
    "lie",
    [
        {"left": True},
        {"device": "ghost", "joined_at": 2**52},
        {"lease": "another.lease"},
        {"joined_at": 0},
        {"sig": ""},
    ],
    ids=["left", "elsewhere", "lease", "senior", "unsigned"],
)
def test_K09_nobody_says_of_another_what_it_has_not_said_itself(trio: Trio, way: str, lie: dict[str, Any]):
    for of in ("ann", "cy"):
        before, later = trio.account(of), trio.now_ms() + 50_000
        false = trio.account(of, **{"at": later} | lie)
        if way == "gossip":
            trio.gossips("bob", false)
        elif way == "announcement":
            facts = trio.member("cy").facts
            same = {"session": facts.session, "key": facts.key, "created_at": facts.created_at}
            body = trio.made("ann", facts.nonce, **same)
            trio.says("bob", "cy", Kind.ANNOUNCE, msgspec.structs.replace(body, members=[false]))
        else:
            seen = e.LeaseSeen(
                call_id=trio.call, user_id=trio.user("bob"), info=trio.account("bob"), others=(false,),
                network_ms=trio.now_ms(),
            )  # fmt: skip
            trio.scene.nodes["cy"].hear(seen)
        assert trio.account(of) == before
    trio.scene.run(60.0)
    for name in ("ann", "bob", "cy"):
        assert len(trio.member(name).participants()) == 3, "all three are still in"


@pytest.mark.parametrize("late", [False, True])
def test_K03_a_goodbye_of_an_earlier_stay_takes_nobody_out(trio: Trio, late: bool):
    arrived = trio.arrived("bob", "cy", Kind.END, ReasonBody(reason="local-hangup"), trio.call)
    said_ms = trio.account("bob").at - 1 if late else trio.now_ms()
    signal = msgspec.structs.replace(arrived.signal, issued_at_ms=said_ms)
    hall = trio.scene.nodes["cy"].exchange.hall
    hall.arrived(msgspec.structs.replace(arrived, signal=signal), hall_now(trio), busy=False)
    assert (trio.user("bob") in trio.member("cy").members) == late


def test_K09_a_word_of_one_conference_is_none_in_another(trio: Trio):
    ann = trio.scene.nodes["ann"].owner.account.identity
    elsewhere = signed(trio.account("ann", at=trio.now_ms() + 1, left=True), "another call", signer(ann))
    trio.gossips("bob", elsewhere)
    assert trio.user("ann") in trio.member("cy").members


def test_K09_invented_members_push_nobody_out_and_cost_no_connection(trio: Trio):
    trio.scene.run(120.0)
    cy = trio.scene.nodes["cy"]
    ghosts = [trio.ghost(number) for number in range(1, 41)]
    trio.member("cy").room = None  # as if a call had grown, where anybody may be
    trio.member("cy")._place._gate = None
    said = cy.exchange.handle(trio.gossip("bob", *ghosts), cy.clock.monotonic())
    assert trio.member("cy").joined
    assert {trio.user("ann"), trio.user("bob")} <= set(trio.member("cy").members)
    opened = {effect.user_id for effect in said if isinstance(effect, cf.OpenPeer)}
    assert len(opened) <= trio.member("cy").limit


def test_K09_members_are_as_bounded_as_the_roster(trio: Trio):
    cy, now = trio.scene.nodes["cy"].exchange, trio.scene.nodes["cy"].clock.monotonic()
    for number in range(1, 3 * ACCOUNTS_MAX):
        told = trio.gossip("bob", trio.ghost(number, joined_at=2**52))
        assert not any(isinstance(effect, cf.SendSignal) for effect in cy.handle(told, now))
    assert len(trio.member("cy").members) <= ACCOUNTS_MAX


def test_K09_who_invents_devices_takes_the_places_of_nobody_else(trio: Trio):
    bob = trio.scene.nodes["bob"].owner.account.identity
    invented = [
        signed(trio.account("bob", device=f"device-{number}", left=True), trio.call, signer(bob))
        for number in range(ACCOUNTS_MAX)
    ]
    trio.gossips("bob", *invented)
    roster = trio.member("cy").roster
    assert len(roster.of(trio.user("bob"))) == DEVICES_MAX
    assert len(roster) == DEVICES_MAX + 2


def test_K09_members_ask_in_a_few_and_nobody_who_is_kept_out(trio: Trio):
    cy, now = trio.scene.nodes["cy"].exchange, trio.scene.nodes["cy"].clock.monotonic()
    trio.member("cy").removed.add("0" * 16)
    asked = msgspec.structs.replace(trio.gossip("bob"), invited=[f"{n:016x}" for n in range(100)])
    heard = [effect for _ in range(2) for effect in cy.handle(asked, now)]
    listened = [effect.user_id for effect in heard if isinstance(effect, cf.JoinSession)]
    assert listened == [f"{n:016x}" for n in range(1, 17)]


def test_S10_a_join_that_is_repeated_costs_one_introduction(trio: Trio):
    info = trio.account("bob")
    proven = proof(trio.member("ann").facts.key, trio.call, info.pub, info.device)
    body = JoinBody(info=info, proof=proven, display_name="Bob")
    trio.member("ann").removed |= {f"{n:016x}" for n in range(200)}
    said = [effect for _ in range(20) for effect in trio.says("bob", "ann", Kind.JOIN, body)]
    signals = [effect for effect in said if isinstance(effect, cf.SendSignal)]
    assert len([signal for signal in signals if signal.kind is Kind.REMOVE]) == 32
    assert len([signal for signal in signals if signal.kind is Kind.ANNOUNCE]) <= 2


def test_K09_a_moderator_fills_no_memory(trio: Trio):
    for number in range(300):
        target = TargetBody(f"{number:016x}")
        with contextlib.suppress(RemoteError):
            trio.says("ann", "cy", Kind.REMOVE, target)
    assert len(trio.member("cy").removed) <= 256


# --- what is said of a conference --------------------------------------------------------------------------


def test_K09_nobody_makes_a_conference_in_the_name_of_another(trio: Trio):
    ann = trio.scene.nodes["ann"].owner.account.identity.pub
    nonce = "5a" * 16
    false = msgspec.structs.replace(trio.made("bob", nonce), founder=ann)
    arrived = trio.arrived("bob", "cy", Kind.ANNOUNCE, false, conference_id(ROOM, nonce, ann))
    with pytest.raises(RemoteError, match="not-the-founder"):
        trio.scene.nodes["cy"].exchange.hall.arrived(arrived, 0.0, busy=False)


def smaller_than(call: str, pub: str) -> str:
    """A nonce that was tried until its id was small."""
    nonces = (f"{number:032x}" for number in range(10_000))
    return next(nonce for nonce in nonces if conference_id(ROOM, nonce, pub) < call)


def test_K01_of_two_conferences_that_go_on_side_by_side_each_is_told_of_now_and_then(trio: Trio):
    bob = trio.scene.nodes["bob"].owner.account.identity.pub
    nonces = (f"{number:032x}" for number in range(10_000))
    nonce = next(nonce for nonce in nonces if conference_id(ROOM, nonce, bob) > trio.call)
    hall = trio.scene.nodes["cy"].exchange.hall
    said = []
    for at in range(60):
        arrived = trio.arrived(
            "bob", "cy", Kind.ANNOUNCE, trio.made("bob", nonce), conference_id(ROOM, nonce, bob)
        )
        said += hall.arrived(arrived, 2000.0 + at, busy=False)
    answers = [effect for effect in said if isinstance(effect, cf.SendSignal)]
    assert {answer.call_id for answer in answers} == {trio.call}
    assert 3 <= len(answers) <= 6


@pytest.mark.parametrize("together", [("bob",), ("bob", "ann")])
def test_K09_a_small_id_draws_nobody_out_of_a_conference_that_stands(trio: Trio, together: tuple[str, ...]):
    trio.scene.run(120.0)
    bob = trio.scene.nodes["bob"].owner.account.identity.pub
    nonce = smaller_than(trio.call, bob)
    call_id = conference_id(ROOM, nonce, bob)
    long_there = [
        signed(
            trio.account(who, joined_at=0, at=trio.now_ms()),
            call_id,
            signer(trio.scene.nodes[who].owner.account.identity),
        )
        for who in together
    ]
    body = trio.made("bob", nonce, members=long_there)
    hall = trio.scene.nodes["cy"].exchange.hall
    hall.arrived(trio.arrived("bob", "cy", Kind.ANNOUNCE, body, call_id), hall_now(trio), busy=False)
    assert trio.member("cy").joined
    assert not hall.get(call_id).joined


@pytest.mark.parametrize("quiet", ["on hold", "listening"])
def test_P02_a_merger_opens_no_microphone(trio: Trio, quiet: str):
    me = trio.member("cy").me
    if quiet == "on hold":
        assert trio.scene.nodes["cy"].tell(ce.Hold(call_id=trio.call))
    else:
        me.lines = frozenset()
    bob = trio.scene.nodes["bob"].owner.account.identity.pub
    nonce = smaller_than(trio.call, bob)
    call_id = conference_id(ROOM, nonce, bob)
    arrived = trio.arrived("bob", "cy", Kind.ANNOUNCE, trio.made("bob", nonce), call_id)
    said = trio.scene.nodes["cy"].exchange.hall.arrived(arrived, hall_now(trio), busy=False)
    (opened,) = [effect for effect in said if isinstance(effect, cf.OpenCall)]
    assert opened.call_id == call_id
    assert set(opened.kinds) <= set(opened.muted)
    hall = trio.scene.nodes["cy"].exchange.hall
    assert not hall.get(call_id).me.view().audio_enabled
    assert hall.talking() == (None if quiet == "on hold" else call_id)


def hall_now(trio: Trio) -> float:
    return trio.scene.nodes["cy"].clock.monotonic()


@pytest.mark.parametrize("change", [{"session": "ab" * 16}, {"key": "cd" * 32}, {"created_at": 7}])
def test_K09_nobody_gives_a_conference_another_session(trio: Trio, change: dict[str, Any]):
    facts = trio.member("cy").facts
    true = trio.made("ann", facts.nonce, session=facts.session, key=facts.key, created_at=facts.created_at)
    trio.scene.end("cy", trio.call)
    del trio.scene.nodes["cy"].exchange.hall._known[trio.call]
    with pytest.raises(RemoteError, match="not-the-founder"):
        trio.says("bob", "cy", Kind.ANNOUNCE, msgspec.structs.replace(true, **change))
    trio.says("bob", "cy", Kind.ANNOUNCE, true)
    assert trio.member("cy").facts.session == facts.session
