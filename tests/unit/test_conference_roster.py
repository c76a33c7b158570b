"""The roster is a function of the accounts, not of their order; nobody speaks for another (K03, K09)."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.conference.roster import ACCOUNTS_MAX, DEVICES_MAX, OLD_MS, Roster
from sidecar.ids import fingerprint
from sidecar.signaling.messages import MemberInfo

PUBS = tuple(f"{letter * 43}=" for letter in "ABC")

accounts = st.builds(
    MemberInfo,
    pub=st.sampled_from(PUBS),
    device=st.sampled_from(("phone", "laptop", "tablet", "desk", "car", "wall")),
    lease=st.just(""),
    joined_at=st.integers(0, 5),
    at=st.integers(0, 8),
    left=st.booleans(),
)


def shown(roster: Roster) -> list[MemberInfo | None]:
    return [roster.get(fingerprint(pub)) for pub in PUBS]


@given(st.lists(accounts, max_size=16), st.randoms(use_true_random=False))
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
    assert not any(there.merge(info) for info in [*some, *others])


def test_K03_a_device_that_leaves_late_takes_nobody_out_who_has_gone_on_to_another():
    phone = MemberInfo(pub=PUBS[0], device="phone", joined_at=1, at=1)
    laptop = MemberInfo(pub=PUBS[0], device="laptop", joined_at=5, at=5)
    gone = msgspec.structs.replace(phone, at=9, left=True)
    assert Roster([phone, laptop, gone]).get(fingerprint(PUBS[0])) == laptop


def of_user(number: int, *, at: int = 0, left: bool = False) -> MemberInfo:
    return MemberInfo(pub=f"{number:043d}=", device="phone", joined_at=number, at=at, left=left)


def test_of_one_user_the_newest_devices_are_kept():
    roster = Roster(
        MemberInfo(pub=PUBS[0], device=f"device-{number}", joined_at=number, at=number)
        for number in range(ACCOUNTS_MAX)
    )
    kept = {info.at for info in roster.of(fingerprint(PUBS[0]))}
    assert kept == set(range(ACCOUNTS_MAX - DEVICES_MAX, ACCOUNTS_MAX))
    assert roster.merge(of_user(1))


def test_a_full_roster_takes_nobody_in_but_ourselves():
    ours = MemberInfo(pub=PUBS[0], device="phone", joined_at=1, at=1)
    others = [of_user(number) for number in range(ACCOUNTS_MAX + 10)]
    assert len(Roster(others)) == ACCOUNTS_MAX
    assert not Roster(others).merge(ours)
    assert Roster(others, own=(fingerprint(PUBS[0]), "phone")).merge(ours)


def test_our_own_account_is_never_forgotten():
    ours = MemberInfo(pub=PUBS[0], device="phone", joined_at=1, at=1)
    user_id = fingerprint(PUBS[0])
    roster = Roster([ours], own=(user_id, "phone"))
    for number in range(1, 3 * ACCOUNTS_MAX):
        roster.merge(of_user(number, at=OLD_MS * number))
        roster.merge(msgspec.structs.replace(ours, device=f"device-{number}", at=OLD_MS * number))
    assert ours in roster.of(user_id)


@pytest.mark.parametrize("idle", [of_user(3, at=1, left=True), of_user(3, at=-1)])
def test_who_has_left_a_full_roster_or_is_heard_of_no_more_makes_room(idle: MemberInfo):
    others = [of_user(number) for number in range(ACCOUNTS_MAX) if number != 3]
    roster = Roster([*others, idle])
    assert roster.merge(of_user(100, at=OLD_MS))
    assert roster.get(fingerprint(idle.pub)) is None
    assert len(roster) == ACCOUNTS_MAX
