"""Leaves of a session whose writer is not known yet: kept in order, in bounds, for a while (FAULTS S07)."""

from __future__ import annotations

from sidecar.signaling.limits import Limits
from sidecar.signaling.parking import Parked, Parking


class Lab:
    def __init__(self, **limits: float) -> None:
        self.forgotten = 0
        self.parking = Parking(Limits()._replace(**limits), self._forget)

    def _forget(self) -> None:
        self.forgotten += 1

    def put(self, key: str, place: str = "call", *, size: int = 10, now_s: float = 0.0) -> None:
        self.parking.put(place, Parked(key, "v" * (size - len(key)), now_s), now_s)

    def keys(self, place: str = "call", now_s: float = 0.0) -> list[str]:
        return [leaf.key for leaf in self.parking.take(place, now_s)]


def test_what_waits_is_taken_once_in_the_order_in_which_it_came() -> None:
    lab = Lab()
    for key in ("b", "a", "c", "a"):
        lab.put(key)
    lab.put("x", "another call")
    assert lab.keys() == ["b", "a", "c"]
    assert lab.keys() == []
    assert (len(lab.parking), lab.forgotten) == (1, 0)


def test_a_leaf_waits_for_a_minute_from_its_first_coming() -> None:
    lab = Lab()
    lab.put("a")
    lab.put("b", now_s=30.0)
    (first, second) = lab.parking.take("call", 59.0)
    for leaf in (first, second):  # tried in vain
        lab.parking.put("call", leaf, 59.0)
    assert lab.keys(now_s=61.0) == ["b"]
    assert lab.forgotten == 1


def test_of_too_many_in_a_place_the_oldest_go() -> None:
    lab = Lab(parked_leaves=3)
    for key in "abcde":
        lab.put(key)
    lab.put("x", "another call")
    assert lab.keys() == ["c", "d", "e"]
    assert lab.forgotten == 2


def test_of_too_much_in_a_place_the_oldest_go() -> None:
    lab = Lab(parked_chars=100)
    lab.put("a", size=60)
    lab.put("b", size=30)
    lab.put("c", size=30)
    assert lab.keys() == ["b", "c"]
    lab.put("huge", size=101)
    assert (lab.keys(), len(lab.parking)) == ([], 0)


def test_a_flooded_session_costs_another_one_nothing() -> None:
    lab = Lab(parked_chars_total=300)
    lab.put("quiet", "quiet", size=20)
    for number in range(1000):
        lab.put(f"junk{number}", "loud", size=50)
    assert len(lab.parking) <= 6
    assert lab.keys("quiet") == ["quiet"]


def test_a_session_that_is_left_leaves_nothing() -> None:
    lab = Lab()
    lab.put("a")
    lab.put("b")
    lab.parking.drop("call")
    lab.parking.drop("call")
    assert (len(lab.parking), lab.forgotten, lab.keys()) == (0, 2, [])
