"""Who may connect to a relay, and how much an address may say."""

from __future__ import annotations

import pytest

from sidecar.graph.admission import MAX_ADDRESSES, SPARE_SOCKETS, Admission, Bucket, ServerLimits

LIMITS = ServerLimits(connections_per_address=2, messages_per_s_per_address=10, burst_per_address=20)


def test_an_address_is_told_that_it_has_too_many_and_then_cut() -> None:
    admission = Admission(LIMITS, ())
    addresses = [admission.arrived("192.0.2.1", 0.0) for _ in range(2)]
    assert not addresses[0].crowded()
    admission.arrived("192.0.2.1", 0.0)
    assert addresses[0].crowded()
    assert not admission.too_many(addresses[0])
    for _ in range(SPARE_SOCKETS):
        admission.arrived("192.0.2.1", 0.0)
    assert admission.too_many(addresses[0])
    other = admission.arrived("192.0.2.2", 0.0)
    assert not other.crowded()
    assert not admission.too_many(other)


def test_what_has_left_counts_no_more() -> None:
    admission = Admission(LIMITS, ())
    for _ in range(100):
        admission.left(admission.arrived("192.0.2.1", 0.0))
    assert not admission.arrived("192.0.2.1", 0.0).crowded()


def test_all_addresses_together_are_bounded_also_the_trusted_ones() -> None:
    admission = Admission(ServerLimits(connections=1), ("192.0.2.0/24",))
    for _ in range(1 + SPARE_SOCKETS):
        assert not admission.too_many(admission.arrived("192.0.2.1", 0.0))
    assert admission.too_many(admission.arrived("192.0.2.2", 0.0))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    admission = Admission(LIMITS, ())
    assert (admission.arrived(one, 0.0) is admission.arrived(other, 0.0)) is same


def test_trusted_addresses_have_no_limit_of_their_own() -> None:
    admission = Admission(LIMITS)
    for host in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        addresses = [admission.arrived(host, 0.0) for _ in range(50)]
        assert not addresses[-1].crowded()
        assert addresses[-1].take(1_000_000, 0.0) == 0.0


def test_an_address_has_one_rate_for_all_its_connections_and_over_reconnects() -> None:
    admission = Admission(LIMITS, ())
    first, second = (admission.arrived("192.0.2.1", 0.0) for _ in range(2))
    assert first.take(20, 0.0) == 0.0
    assert second.take(10, 0.0) == 1.0
    admission.left(first)
    admission.left(second)
    admission.forget_settled(0.5)
    assert admission.arrived("192.0.2.1", 0.5).take(1, 0.5) > 0
    assert admission.arrived("192.0.2.2", 0.5).take(1, 0.5) == 0.0


def test_an_address_that_owes_nothing_is_forgotten() -> None:
    admission = Admission(LIMITS, ())
    known = admission.arrived("192.0.2.1", 0.0)
    known.take(20, 0.0)
    admission.forget_settled(100.0)
    assert admission.arrived("192.0.2.1", 100.0) is known
    admission.left(known)
    admission.left(known)
    admission.forget_settled(100.0)
    assert admission.arrived("192.0.2.1", 100.0) is not known


def test_the_addresses_remembered_are_bounded() -> None:
    admission = Admission(LIMITS, ())
    debtor = admission.arrived("192.0.2.1", 0.0)
    debtor.take(10_000, 0.0)
    admission.left(debtor)
    for number in range(MAX_ADDRESSES):
        admission.left(admission.arrived(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0))
    assert admission.arrived("192.0.2.1", 0.0) is not debtor


def test_a_bucket_fills_up_again_to_its_burst() -> None:
    bucket = Bucket(10.0, 20.0, 0.0)
    assert bucket.take(20, 0.0) == 0.0
    assert not bucket.full(1.0)
    assert bucket.full(2.0)
    assert bucket.take(25, 100.0) == pytest.approx(0.5)
