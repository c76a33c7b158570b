"""One connection through its generations: who builds them, what closes when, and when it is given up."""

from __future__ import annotations

import itertools

from sidecar.calls import effects as f
from sidecar.calls import events as e
from sidecar.calls.facts import digest
from sidecar.calls.path import News, Path, Say, Step
from sidecar.calls.path_rules import PathRules
from sidecar.signaling.messages import AnswerBody, Kind, OfferBody
from tests.calls_lab import BOB, CALL, T0, broken, connected, described, judged, lost, signal

RULES = PathRules()


def path(*, offerer: bool = True, current: int | None = 0) -> Path:
    return Path(CALL, BOB, offerer=offerer, rules=RULES, current=current)


def opened(steps: list[Step]) -> list[int]:
    return [step.gen for step in steps if isinstance(step, f.OpenPeer)]


def closed(steps: list[Step]) -> list[int]:
    return [step.gen for step in steps if isinstance(step, f.ClosePeer)]


def said(steps: list[Step]) -> list[tuple[Kind, int]]:
    return [(step.kind, step.gen) for step in steps if isinstance(step, Say)]


def test_a_suspect_path_is_rebuilt_beside_the_old_one_and_then_replaced():
    here, there = path(), path(offerer=False)
    assert opened(here.handle(judged(e.Level.SUSPECT), T0)) == [1]
    assert here.take_news() is None, "a suspicion shows nobody anything"

    [offer] = here.handle(described("offer", gen=1, sdp="second"), T0)
    assert (offer.kind, offer.gen, offer.body.sdp) == (Kind.OFFER, 1, "second")
    assert opened(there.heard(signal(Kind.OFFER, offer.body, gen=1), T0)) == [1]
    [answer] = there.handle(described("answer", gen=1, sdp="yes"), T0)
    assert (answer.kind, answer.body) == (Kind.ANSWER, AnswerBody(sdp="yes", offer_digest=digest("second")))

    [applied] = here.heard(signal(Kind.ANSWER, answer.body, gen=1), T0)
    assert (applied.gen, applied.sdp) == (1, "yes")
    assert closed(here.handle(connected(gen=1), T0)) == [0], "made before broken"
    assert closed(there.handle(connected(gen=1), T0)) == [0]
    assert here.current == there.current == 1
    assert here.next_deadline() is there.next_deadline() is None


def test_only_the_offerer_builds_and_the_other_end_asks():
    there = path(offerer=False)
    assert said(there.handle(judged(e.Level.SUSPECT), T0)) == [(Kind.RESTART, 0)]
    here = path()
    assert opened(here.heard(signal(Kind.RESTART), T0)) == [1]
    assert here.heard(signal(Kind.RESTART), T0) == [], "it is being built already"
    assert path(offerer=False).heard(signal(Kind.RESTART), T0) == []
    assert path().heard(signal(Kind.OFFER, OfferBody(sdp="x"), gen=1), T0) == []


def test_the_answerer_asks_again_while_nothing_comes():
    there = path(offerer=False)
    there.handle(judged(e.Level.SUSPECT), T0)
    assert there.next_deadline() == T0 + 5
    assert said(there.handle_timer(T0 + 5)) == [(Kind.RESTART, 0)]
    there.handle(judged(e.Level.ALIVE), T0 + 6)
    assert there.next_deadline() is None


def test_generations_are_at_least_five_seconds_apart_and_at_most_five_a_minute():
    here = path()
    begun = []
    now = T0
    here.handle(judged(e.Level.SUSPECT), now)
    begun.append(now)
    while now < T0 + 29:
        now += 1
        if here.building is not None:
            here.handle(broken(gen=here.building), now)
        if opened(here.handle_timer(now)):
            begun.append(now)
    gaps = [after - before for before, after in itertools.pairwise(begun)]
    assert min(gaps) >= 5
    assert len(begun) == 5


def test_S12_an_answer_to_another_generation_or_offer_is_ignored():
    here = path()
    here.handle(judged(e.Level.SUSPECT), T0)
    here.handle(described("offer", gen=1, sdp="second"), T0)
    stale = AnswerBody(sdp="old", offer_digest=digest("first"))
    assert here.heard(signal(Kind.ANSWER, stale, gen=1), T0) == []
    right = AnswerBody(sdp="yes", offer_digest=digest("second"))
    assert here.heard(signal(Kind.ANSWER, right, gen=0), T0) == []
    assert len(here.heard(signal(Kind.ANSWER, right, gen=1), T0)) == 1
    assert here.heard(signal(Kind.ANSWER, right, gen=1), T0) == [], "nothing is applied twice"


def test_an_older_offer_never_replaces_a_newer_one():
    there = path(offerer=False, current=2)
    assert there.heard(signal(Kind.OFFER, OfferBody(sdp="x"), gen=2), T0) == []
    there.heard(signal(Kind.OFFER, OfferBody(sdp="x"), gen=3), T0)
    newer = there.heard(signal(Kind.OFFER, OfferBody(sdp="y"), gen=4), T0)
    assert (closed(newer), opened(newer)) == ([3], [4])


def test_silence_is_told_once_and_so_is_its_end():
    here = path()
    here.handle(judged(e.Level.SUSPECT), T0)
    here.handle(judged(e.Level.RECONNECTING), T0 + 2.5)
    assert here.take_news() is News.DOWN
    here.handle(judged(e.Level.RECONNECTING), T0 + 3)
    assert here.take_news() is None
    here.handle(connected(gen=1), T0 + 4)
    assert here.take_news() is News.UP
    assert not here.down


def test_a_path_that_recovers_by_itself_is_up_again():
    here = path(offerer=False)
    here.handle(judged(e.Level.RECONNECTING), T0)
    assert here.take_news() is News.DOWN
    here.handle(judged(e.Level.ALIVE), T0 + 1)
    assert here.take_news() is News.UP


def test_a_connection_that_closes_waits_a_moment_for_the_hangup_then_is_rebuilt():
    here = path()
    assert closed(here.handle(broken(), T0)) == [0]
    assert here.take_news() is None
    assert here.next_deadline() == T0 + 1
    assert opened(here.handle_timer(T0 + 1)) == [1]
    assert here.take_news() is News.DOWN


def test_a_generation_that_does_not_come_up_is_followed_by_the_next():
    here = path()
    here.handle(judged(e.Level.SUSPECT), T0)
    later = here.handle_timer(T0 + 10)
    assert (closed(later), opened(later)) == ([1], [2])


def test_a_silent_peer_is_given_up_after_half_a_minute():
    here = path()
    here.handle(judged(e.Level.SUSPECT), T0)
    while (due := here.next_deadline()) is not None and due < T0 + 30:
        here.handle_timer(due)
    here.handle_timer(T0 + 30)
    assert here.take_news() is News.LOST
    assert here.next_deadline() is None


def test_the_medias_last_word_is_final():
    here = path()
    assert closed(here.handle(lost(), T0)) == [0]
    assert here.take_news() is News.LOST


def test_the_first_connection_of_a_pair_is_built_the_same_way():
    here, there = path(current=None), path(offerer=False, current=None)
    assert opened(here.begin(T0)) == [0]
    assert there.begin(T0) == []
    assert there.next_deadline() == T0 + 30
    assert opened(there.heard(signal(Kind.OFFER, OfferBody(sdp="first")), T0)) == [0]
    assert there.handle(connected(), T0) == []
    assert there.take_news() is News.UP


def test_of_two_first_offers_that_crossed_one_end_takes_the_others():
    here = path(current=None)
    here.begin(T0)
    here.handle(described("offer"), T0)
    yielded = here.yield_to(signal(Kind.OFFER, OfferBody(sdp="theirs")), T0)
    assert (closed(yielded), opened(yielded)) == ([0], [0])
    assert not here.offerer


def test_what_media_says_of_a_closed_generation_is_ignored():
    here = path(current=3)
    for event in (connected(gen=1), broken(gen=1), judged(e.Level.LOST, gen=2), described("offer", gen=4)):
        assert here.handle(event, T0) == []
    assert here.take_news() is None


def test_closing_leaves_nothing_due():
    here = path()
    here.handle(judged(e.Level.SUSPECT), T0)
    assert closed(here.close()) == [1, 0]
    assert here.next_deadline() is None
