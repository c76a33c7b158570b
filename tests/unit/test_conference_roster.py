"""The roster is a function of the accounts, not of their order; nobody speaks for another (K03, K09)."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.calls import events as ce
from sidecar.conference import events as e
from sidecar.conference.roster import ACCOUNTS_MAX, Roster
from sidecar.errors import RemoteError
from sidecar.ids import fingerprint
from sidecar.schema import MediaTrackKind
from sidecar.signaling.messages import (
    AnnounceBody,
    EmptyBody,
    JoinBody,
    Kind,
    MemberInfo,
    Party,
    Signal,
    TargetBody,
)
from tests.sim.scene import ROOM, Scene

PUBS = tuple(f"{letter * 43}=" for letter in "ABC")

accounts = st.builds(
    MemberInfo,
    pub=st.sampled_from(PUBS),
    device=st.sampled_from(("phone", "laptop")),
    lease=st.just(""),
    joined_at=st.integers(0, 5),
    at=st.integers(0, 8),
    left=st.booleans(),
)


def shown(roster: Roster) -> list[MemberInfo | None]:
    return [roster.get(fingerprint(pub)) for pub in PUBS]


@given(st.lists(accounts, max_size=12), st.randoms(use_true_random=False))
def test_K03_any_order_of_accounts_gives_the_same_roster(infos: list[MemberInfo], dice: Random):
    mixed = [*infos, *infos[::2]]
    dice.shuffle(mixed)
    one, two = Roster(infos), Roster(mixed)
    assert shown(one) == shown(two)
    assert list(one.present()) == list(two.present())


@given(st.lists(accounts, max_size=8), st.lists(accounts, max_size=8))
def test_K03_merging_is_commutative_and_once_is_enough(some: list[MemberInfo], others: list[MemberInfo]):
    there, back = Roster([*some, *others]), Roster([*others, *some])
    assert shown(there) == shown(back)
    assert not any(there.merge(info) for info in there.all())


def test_K03_a_device_that_leaves_late_takes_nobody_out_who_has_gone_on_to_another():
    phone = MemberInfo(pub=PUBS[0], device="phone", joined_at=1, at=1)
    laptop = MemberInfo(pub=PUBS[0], device="laptop", joined_at=5, at=5)
    gone = msgspec.structs.replace(phone, at=9, left=True)
    assert Roster([phone, laptop, gone]).get(fingerprint(PUBS[0])) == laptop


def test_the_roster_is_bounded():
    roster = Roster(
        MemberInfo(pub=PUBS[0], device=f"device-{number}", joined_at=number, at=number)
        for number in range(ACCOUNTS_MAX + 10)
    )
    assert len(roster.all()) == ACCOUNTS_MAX


# --- a member that means ill ----------------------------------------------------------------------------


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

    def says(
        self, name: str, to: str, kind: Kind, body, *, device: str | None = None, call: str | None = None
    ):
        """What ``to`` makes of a signal of ``name``; raises the RemoteError that it is dropped with."""
        sender, other = self.scene.nodes[name], self.scene.nodes[to]
        now_ms = other.clock.network_ms()
        self.seq += 1
        signal = Signal(
            kind=kind, call_id=self.call,
            sender=Party(pub=sender.owner.account.identity.pub, device=sender.owner.device),
            recipient=Party(pub=other.owner.account.identity.pub), body=body,
            epoch="epoch", gen=0, seq=self.seq,
            issued_at_ms=now_ms, expires_at_ms=now_ms + 60_000, nonce=f"{self.seq:032x}", room_id=ROOM,
        )  # fmt: skip
        arrived = ce.SignalArrived(
            signal=signal, user_id=sender.user_id, contact=True, at_ms=now_ms, network_ms=now_ms
        )
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
    body = JoinBody(lease="", joined_at=0, proof="0" * 64, display_name="Bob")
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
    body = AnnounceBody(
        call_type="audio", session=facts.session, key=facts.key, nonce=facts.nonce, founder=facts.founder,
        display_name="Bob", created_at=facts.created_at, members=[],
    )  # fmt: skip
    trio.scene.end("cy", trio.call)
    del hall._known[trio.call]
    trio.says("bob", "cy", Kind.ANNOUNCE, body)
    assert hall.get(trio.call).facts.initiator_id == trio.user("ann")
    del hall._known[trio.call]
    mine = msgspec.structs.replace(body, founder=trio.scene.nodes["bob"].owner.account.identity.pub)
    with pytest.raises(RemoteError, match="chosen-id"):
        trio.says("bob", "cy", Kind.ANNOUNCE, mine)


def test_K09_gossip_of_somebody_who_is_not_in_is_not_believed(trio: Trio):
    node = trio.scene.nodes["cy"]
    now_ms = node.clock.network_ms()
    ghost = MemberInfo(pub=PUBS[0], device="ghost", joined_at=0, at=now_ms)
    ages = {trio.user("ann"): 0}
    node.hear(e.Gossip(call_id=trio.call, user_id="f" * 16, ages_ms=ages, members=[ghost], network_ms=now_ms))
    assert set(trio.member("cy").members) == {trio.user("ann"), trio.user("bob")}
