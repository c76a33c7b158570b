"""What waits for an acknowledgement over a control channel, in virtual time (DESIGN D4)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.signaling.spoken import ACK_WITHIN_S, DEAF_MAX, WAITING_MAX, Channel, Spoken

BOB = Channel("call_1", "bob", 0)
NEXT = BOB._replace(gen=1)


def ack(spoken: Spoken, key: str, channel: Channel = BOB) -> bool:
    return spoken.acked(channel.call_id, channel.user_id, key)


def test_an_acknowledged_leaf_never_reaches_the_graph() -> None:
    spoken = Spoken()
    assert spoken.say(BOB, "a", 10.0, wait=True)
    assert spoken.next_deadline() == 10.0 + ACK_WITHIN_S
    assert ack(spoken, "a")
    assert spoken.due(20.0) == []
    assert (spoken.next_deadline(), len(spoken)) == (None, 0)


def test_a_lost_acknowledgement_sends_it_into_the_graph_once() -> None:
    spoken = Spoken()
    spoken.say(BOB, "a", 10.0, wait=True)
    assert spoken.due(10.0 + ACK_WITHIN_S - 0.01) == []
    assert spoken.due(10.0 + ACK_WITHIN_S) == ["a"]
    assert spoken.due(99.0) == []
    assert ack(spoken, "a")  # late, but somebody may still wait for it


def test_an_acknowledgement_counts_once_and_only_from_whom_it_was_said_to() -> None:
    spoken = Spoken()
    spoken.say(BOB, "a", 0.0, wait=True)
    for stranger in (BOB._replace(user_id="mallory"), BOB._replace(call_id="call_2")):
        assert not ack(spoken, "a", stranger)
    assert not ack(spoken, "b")
    assert ack(spoken, "a", NEXT)  # it may take the next connection
    assert not ack(spoken, "a")


def test_a_channel_that_closes_is_not_waited_for() -> None:
    spoken = Spoken()
    spoken.say(BOB, "a", 10.0, wait=True)
    spoken.say(NEXT, "b", 10.0, wait=True)
    spoken.closed(BOB)
    assert spoken.due(10.0) == ["a"]
    spoken.closed(BOB)
    assert spoken.due(10.0) == []
    spoken.say(NEXT, "c", 10.0, wait=True)
    assert spoken.due(10.0) == []  # who is gone was not deaf


def test_nobody_is_waited_for_whose_connection_is_in_doubt() -> None:
    spoken = Spoken()
    spoken.say(BOB, "a", 10.0, wait=False)
    assert spoken.due(10.0) == ["a"]
    spoken.say(BOB, "b", 10.0, wait=True)
    assert spoken.due(10.0) == []


def test_who_does_not_acknowledge_keeps_us_waiting_once() -> None:
    spoken = Spoken()
    spoken.say(BOB, "a", 0.0, wait=True)
    spoken.due(1.0)
    spoken.say(BOB, "b", 1.0, wait=True)
    assert spoken.due(1.0) == ["b"]
    spoken.say(NEXT, "c", 1.0, wait=True)
    assert spoken.due(1.0) == []  # another connection may lead to somebody who listens


def test_who_acknowledges_late_is_waited_for_again() -> None:
    spoken = Spoken()
    spoken.say(BOB, "a", 0.0, wait=True)
    spoken.due(1.0)
    assert ack(spoken, "a")
    spoken.say(BOB, "b", 1.0, wait=True)
    assert spoken.due(1.0) == []


def test_a_flood_of_ours_takes_the_graph_and_others_are_not_touched() -> None:
    spoken = Spoken()
    said = [spoken.say(BOB, f"b{number}", 0.0, wait=True) for number in range(WAITING_MAX + 5)]
    assert said.count(True) == WAITING_MAX
    assert spoken.say(BOB._replace(user_id="carol"), "c", 0.0, wait=True)
    spoken.forget("b0")
    assert spoken.say(BOB, "more", 0.0, wait=True)


def test_what_is_kept_in_mind_is_bounded() -> None:
    spoken = Spoken()
    for number in range(2 * DEAF_MAX):
        channel = BOB._replace(user_id=f"user{number}")
        spoken.say(channel, f"k{number}", 0.0, wait=True)
        spoken.due(1.0)
        spoken.forget(f"k{number}")
    assert len(spoken) == 0
    assert len(spoken._deaf) == DEAF_MAX


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["say", "ack", "close", "wait", "forget"]),
        st.integers(0, 3),
        st.sampled_from([BOB, NEXT, BOB._replace(user_id="carol")]),
    ),
    max_size=40,
)


@given(steps=STEPS)
def test_every_leaf_is_acknowledged_or_put_and_never_put_twice(
    steps: list[tuple[str, int, Channel]],
) -> None:
    spoken, now = Spoken(), 0.0
    said: dict[str, Channel] = {}
    put: list[str] = []
    done: set[str] = set()
    for number, (step, which, channel) in enumerate(steps):
        key = list(said)[which % len(said)] if said else ""
        match step:
            case "say":
                assert spoken.say(channel, str(number), now, wait=bool(which))
                said[str(number)] = channel
            case "ack" if key and ack(spoken, key, said[key]):
                done.add(key)
            case "close":
                spoken.closed(channel)
            case "wait":
                now += 0.2
            case "forget" if key:
                spoken.forget(key)
                done.add(key)
        put += spoken.due(now)
        due = spoken.next_deadline()
        assert due is None or due > now
    put += spoken.due(now + ACK_WITHIN_S)
    assert len(put) == len(set(put))
    assert set(said) == done | set(put)
