"""Live calls noted on disk, and what the next process makes of them (FAULTS C18)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.app.services import journal as module
from sidecar.app.services import recovery
from sidecar.app.services.call_store import DATABASE, open_store
from sidecar.app.services.history import History
from sidecar.app.services.journal import Journal
from sidecar.app.services.summary import Summaries
from sidecar.calls import events as e
from sidecar.calls.notes import Goodbye, LiveNote
from sidecar.calls.states import Side, State
from sidecar.conference import events as ce
from sidecar.conference.facts import Guest, Room, Self
from sidecar.conference.hall import Hall
from sidecar.conference.rules import ConferenceRules
from sidecar.errors import DeniedError, UnavailableError
from sidecar.log import Logger
from sidecar.schema import CallType, EndReason, ParticipantState
from sidecar.signaling.messages import Kind
from sidecar.storage.database import Database
from tests.calls_fakes import Bench, FakeHub, FakeSignaling, turn
from tests.calls_lab import (
    ALICE,
    BOB,
    CALL,
    SESSION,
    T0,
    WALL_MS,
    at,
    board,
    invite,
)
from tests.signaling_kit import HandClock

LOG = Logger("history")
DEVICE = "peer-device"


def now(function: Any, *args: Any) -> None:
    function(*args)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    database = open_store(tmp_path, now)
    yield database
    database.close()


def reopened(tmp_path: Path, store: Database) -> Journal:
    """What the next process reads."""
    store.close()
    database = open_store(tmp_path, now)
    journal = Journal(database, HandClock(), LOG)
    database.close()
    return journal


def note(made: Any) -> LiveNote:
    (found,) = made.notes()
    return found


# --- what is noted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "state", "goodbye"),
    [
        (Side.CALLER, State.PREPARING, None),
        (Side.CALLER, State.INVITING, (None, Kind.CANCEL)),
        (Side.CALLER, State.ALERTING, (None, Kind.CANCEL)),
        (Side.CALLER, State.CONNECTING, (DEVICE, Kind.END)),
        (Side.CALLER, State.ACTIVE, (DEVICE, Kind.END)),
        (Side.CALLER, State.RECONNECTING, (DEVICE, Kind.END)),
        (Side.CALLEE, State.RINGING, None),
        (Side.CALLEE, State.ANSWERING, (DEVICE, Kind.END)),
        (Side.CALLEE, State.BROKEN, (DEVICE, Kind.END)),
        (Side.CALLEE, State.ACTIVE, (DEVICE, Kind.END)),
    ],
)
def test_C18_the_word_for_the_peer_depends_on_how_far_the_call_is(side, state, goodbye):
    found = note(at(side, state))
    assert (found.call_id, found.session) == (CALL, SESSION)
    said = [(g.device, g.kind) for g in found.goodbyes]
    assert said == ([] if goodbye is None else [goodbye])
    assert all(g.user_id == BOB for g in found.goodbyes)


def test_C18_a_stranger_hears_only_of_a_call_that_was_taken():
    asked = board()
    asked.handle(invite(contact=False, sdp=None), T0)
    assert note(asked).goodbyes == []
    asked.handle(e.Accept(call_id=CALL), T0)
    assert [g.kind for g in note(asked).goodbyes] == [Kind.END]


def test_a_call_on_hold_is_alive_and_an_ended_one_is_not():
    made = at(Side.CALLER, State.ACTIVE)
    made.handle(e.Hold(call_id=CALL), T0)
    assert [g.kind for g in note(made).goodbyes] == [Kind.END]
    made.handle(e.End(call_id=CALL), T0)
    assert made.notes() == []


def test_the_record_of_a_cut_off_call_has_an_end_and_nobody_in_it():
    record = note(at(Side.CALLER, State.ACTIVE)).ended(WALL_MS + 90_000)
    assert (record.end_reason, record.ended_at) == (EndReason.APP_GONE, WALL_MS + 90_000)
    assert record.started_at is not None
    assert {person.state for person in record.participants} == {ParticipantState.DISCONNECTED}
    assert [person.left_at for person in record.participants] == [WALL_MS + 90_000] * 2
    assert note(at(Side.CALLEE, State.RINGING)).ended(0).ended_at == WALL_MS  # never before it began


def test_C18_a_conference_is_noted_with_everybody_who_is_in():
    hall = Hall(ConferenceRules(), Self(ALICE, "our key", "our-device", lambda _: ""), "Alice")
    hall.rooms = {"room": Room(room_id="room", members=(Guest(ALICE), Guest(BOB)))}
    new_id = hall.new_id("room", "ab" * 16)
    hall.create(
        ce.Create(
            call_id=new_id, room_id="room", call_type=CallType.AUDIO, session=SESSION, key="cd" * 32,
            nonce="ab" * 16, lease="lease", at_ms=WALL_MS, network_ms=WALL_MS,
        ),
        T0,
    )  # fmt: skip
    assert (note(hall).call_id, note(hall).goodbyes) == (new_id, [])
    hall.handle(e.End(call_id=new_id), T0)
    assert hall.notes() == []


def test_a_call_that_grew_is_noted_once_more_as_a_conference():
    made, hall = (
        at(Side.CALLER, State.ACTIVE),
        Hall(ConferenceRules(), Self(ALICE, "our key", "our-device", lambda _: ""), "Alice"),
    )
    call = made.release(CALL)
    hall.grow(
        call,
        ce.Invite(
            call_id=CALL, user_id="c" * 16, display_name="Carol", session="ab" * 16, key="cd" * 32,
            nonce="ef" * 16, lease="lease", at_ms=WALL_MS, network_ms=WALL_MS,
        ),
        T0,
    )  # fmt: skip
    assert made.notes() == []
    found = note(hall)
    assert (found.session, found.goodbyes) == ("ab" * 16, [Goodbye(BOB, DEVICE, Kind.END)])


# --- the journal --------------------------------------------------------------------------------------------


async def test_C18_what_lives_is_on_disk_and_what_ended_is_not(tmp_path: Path, store: Database):
    journal = Journal(store, HandClock(WALL_MS), LOG)
    assert journal.stale == []
    made = at(Side.CALLER, State.ACTIVE)
    journal.keep(made.notes())
    journal.keep([])
    journal.keep(made.notes())
    journal.close()
    (stale,) = reopened(tmp_path, store).stale
    assert stale.note == note(made)
    assert stale.seen_ms == WALL_MS


async def test_nothing_is_written_while_nothing_changes(store: Database, monkeypatch: pytest.MonkeyPatch):
    journal = Journal(store, HandClock(), LOG)
    writes: list[Any] = []
    monkeypatch.setattr(store, "submit", lambda statements, on_done: writes.append(list(statements)))
    journal.keep([])
    journal.keep(at(Side.CALLER, State.ACTIVE).notes())
    journal.keep(at(Side.CALLER, State.ACTIVE).notes())
    assert len(writes) == 1
    journal.keep([])
    journal.keep([])
    assert len(writes) == 2


async def test_a_live_call_is_seen_again_and_again(tmp_path: Path, store: Database, monkeypatch):
    monkeypatch.setattr(module, "BEAT_S", 0.0)
    clock = HandClock(WALL_MS)
    journal = Journal(store, clock, LOG)
    journal.keep(at(Side.CALLER, State.ACTIVE).notes())
    clock.advance(60)
    await turn()
    journal.close()
    assert journal._beat is None
    assert [stale.seen_ms for stale in reopened(tmp_path, store).stale] == [WALL_MS + 60_000]


async def test_C18_a_record_and_the_end_of_its_note_are_one_write(tmp_path: Path, store: Database):
    journal = Journal(store, HandClock(), LOG)
    made = at(Side.CALLER, State.ACTIVE)
    journal.keep(made.notes())
    History(store, LOG).add(note(made).ended(WALL_MS))
    journal._beat.cancel()  # killed before it was told that the call is over
    assert reopened(tmp_path, store).stale == []


async def test_a_note_that_cannot_be_read_is_left_out_and_goes(tmp_path: Path, store: Database):
    journal = Journal(store, HandClock(), LOG)
    journal.keep(at(Side.CALLER, State.ACTIVE).notes())
    journal.close()
    store.close()
    with sqlite3.connect(tmp_path / DATABASE) as file:
        file.execute("UPDATE live SET note = '{'")
    file.close()
    database = open_store(tmp_path, now)
    assert Journal(database, HandClock(), LOG).stale == []
    database.close()
    with sqlite3.connect(tmp_path / DATABASE) as file:
        assert file.execute("SELECT COUNT(*) FROM live").fetchone() == (0,)
    file.close()


async def test_the_service_notes_every_call_that_lives(tmp_path: Path):
    bench = Bench(tmp_path)
    session = await bench.calls.initiate(BOB, CallType.AUDIO)
    assert [found.call_id for found in bench.journal.notes] == [session.id]
    bench.calls.handle(e.End(call_id=session.id))
    assert bench.journal.notes == []


# --- recovery -----------------------------------------------------------------------------------------------


class After:
    """The services that recovery uses, and what it left in each."""

    def __init__(self, store: Database) -> None:
        self.history, self.hub, self.signaling = History(store, LOG), FakeHub(), FakeSignaling()
        self.summaries = Summaries(self.history, self.hub, LOG)

    async def close(self, *notes: LiveNote) -> None:
        stale = [module.Stale(found, WALL_MS + 5_000) for found in notes]
        await recovery.close_stale(stale, self.summaries, self.signaling, LOG)


async def test_C18_a_cut_off_call_is_recorded_summed_up_and_the_peer_is_told(store: Database):
    after = After(store)
    await after.close(note(at(Side.CALLER, State.ACTIVE)))
    (record,) = after.history.newest(10)
    assert (record.call_id, record.end_reason, record.ended_at) == (CALL, "app-gone", WALL_MS + 5_000)
    assert [(name, data.record) for name, data in after.hub.events] == [("aleph:callSummary", record)]
    (sent,) = after.signaling.sent
    assert (sent["kind"], sent["body"].reason, sent["session"]) == (Kind.END, "app-gone", SESSION)
    assert (sent["user_id"], sent["device"], sent["call_id"]) == (BOB, DEVICE, CALL)


async def test_C18_nobody_is_told_of_a_call_that_only_rang(store: Database):
    after = After(store)
    await after.close(note(at(Side.CALLEE, State.RINGING)))
    assert [record.end_reason for record in after.history.newest(10)] == ["app-gone"]
    assert after.signaling.sent == []


@pytest.mark.parametrize(("error", "times"), [(UnavailableError("no relay"), 4), (DeniedError("blocked"), 1)])
async def test_C18_word_is_tried_again_while_it_may_help(store: Database, monkeypatch, error, times):
    monkeypatch.setattr(recovery, "RETRY_S", (0.0, 0.0, 0.0))
    after = After(store)
    after.signaling.error = error
    await after.close(note(at(Side.CALLER, State.ACTIVE)))
    assert len(after.signaling.sent) == times


async def test_C18_the_peer_takes_the_word_of_another_life_of_the_same_device():
    """The end comes under a new epoch: all that another epoch may do to a call is end it."""
    from sidecar.signaling.messages import ReasonBody
    from tests.calls_lab import arrived, signal, state_of

    made = at(Side.CALLEE, State.ACTIVE)
    word = signal(Kind.END, ReasonBody(reason="app-gone"), epoch="another")
    made.handle(arrived(word), T0)
    assert state_of(made) is State.ENDED
    assert made.session(CALL).end_reason is EndReason.APP_GONE
