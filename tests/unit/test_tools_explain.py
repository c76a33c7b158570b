"""``aleph-sidecar explain``: the ladder of a call from kept envelopes, signatures verified once more."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.app.services import envelopes as module
from sidecar.app.services.call_store import DATABASE, open_store
from sidecar.app.services.envelopes import Envelopes
from sidecar.app.services.history import History
from sidecar.app.tools.explain import HANGUPS, WHY, Explanation, Kept, explain, to_json
from sidecar.app.tools.explain_store import find
from sidecar.app.tools.explain_text import ladder
from sidecar.calls.facts import digest
from sidecar.errors import Code, LocalError, UnavailableError
from sidecar.log import Logger
from sidecar.schema import (
    CallDirection,
    CallParticipant,
    CallRecord,
    CallStats,
    CallType,
    EndReason,
    ParticipantState,
    ParticipantStats,
    PathKind,
)
from sidecar.signaling import sealing
from sidecar.signaling.messages import AcceptBody, AnyBody, EmptyBody, InviteBody, Kind, Party, ReasonBody
from sidecar.signaling.outbox import Message
from sidecar.trust import boxkeys
from sidecar.trust.identity import Identity
from tests.peers import ROOT
from tests.signaling_kit import (
    ALICE,
    ALICE_DEVICE,
    BOB,
    BOB_DEVICE,
    MALLORY,
    NOW_MS,
    SESSION,
    HandClock,
    Receiver,
    pairwise_place,
    recipient,
    sender,
    signal_from,
)

CALL = "call_1"
LOG = Logger("history")
OFFER = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\n"
ANSWER = "v=0\r\no=- 2 2 IN IP4 192.0.2.9\r\n"


def text(author: Identity, to: Identity, kind: Kind, body: AnyBody, **changes: Any) -> str:
    key = boxkeys.of_identity(to.seed)
    lock = sealing.Lock(key.kid, key.public, None)
    device = ALICE_DEVICE if author is ALICE else BOB_DEVICE
    party = {"sender": Party(author.pub, device), "kind": kind, "body": body}
    return sealing.sign_signal(signal_from(author, to, **{**party, **changes}), author, lock)


def kept(*rows: tuple[int, bool, str]) -> list[Kept]:
    return [Kept(NOW_MS + after_ms, sent, told) for after_ms, sent, told in rows]


def a_call() -> list[Kept]:
    """Bob's side of a call of Alice that he hangs up."""
    invitation = InviteBody(call_type="video", session=SESSION, display_name="Alice", sdp=OFFER)
    answer = AcceptBody(sdp=ANSWER, sdp_type="answer", offer_digest=digest(OFFER))
    return kept(
        (0, False, text(ALICE, BOB, Kind.INVITE, invitation)),
        (4, True, text(BOB, ALICE, Kind.RECEIPT, EmptyBody())),
        (9, True, text(BOB, ALICE, Kind.RINGING, EmptyBody())),
        (2_345, True, text(BOB, ALICE, Kind.ACCEPT, answer)),
        (
            65_000,
            True,
            text(BOB, ALICE, Kind.END, ReasonBody(reason="local-hangup", detail="bye\x1b[2J" + "!" * 9)),
        ),
    )


def person(who: Identity, name: str) -> CallParticipant:
    return CallParticipant(
        user_id=who.fingerprint,
        display_name=name,
        state=ParticipantState.DISCONNECTED,
        audio_enabled=True,
        video_enabled=False,
        screen_sharing=False,
    )


def record(reason: EndReason = EndReason.LOCAL_HANGUP) -> CallRecord:
    measured = ParticipantStats(user_id=ALICE.fingerprint, path=PathKind.SRFLX, rtt_ms=24.4, loss=0.012)
    return CallRecord(
        call_id=CALL,
        type=CallType.VIDEO,
        direction=CallDirection.INCOMING,
        initiator_id=ALICE.fingerprint,
        participants=[person(BOB, "Bob"), person(ALICE, "Alice")],
        created_at=NOW_MS,
        started_at=NOW_MS + 2_500,
        ended_at=NOW_MS + 65_000,
        end_reason=reason,
        stats=CallStats(participants=[measured]),
    )


def told(rows: list[Kept], made: CallRecord | None = None, *, alive: bool = False) -> Explanation:
    return explain(CALL, made, alive, rows)


GOLDEN = """\
call_1: incoming video call, 2026-11-18 11:06:40 UTC, connected for 62.5 s
  media: {alice} over srflx, 24 ms, 1.2 % lost
  why: local-hangup: our user hung up; we said end (local-hangup)

  [1] Alice ({alice})

            us                    [1]
  +0.000 s  |<------ invite ------|  gen 0, sdp 31 characters {offer}, video, device a1a1
  +0.004 s  |----- receipt ------>|
  +0.009 s  |----- ringing ------>|
  +2.345 s  |------ accept ------>|  gen 0, sdp 31 characters {answer}, answers {offer}
 +65.000 s  |------- end -------->|  local-hangup, "bye[2J!!!!!!!!!"

  All signatures verified: 5 of 5."""


def test_the_ladder_of_a_call():
    expected = GOLDEN.format(alice=ALICE.fingerprint, offer=digest(OFFER)[:12], answer=digest(ANSWER)[:12])
    assert ladder(told(a_call(), record())) == expected


def test_P03_no_description_address_or_session_is_shown():
    made = told(a_call(), record())
    for shown in (ladder(made), to_json(made)):
        assert "192.0.2" not in shown
        assert SESSION not in shown
        assert "\x1b" not in shown
        assert ALICE.pub not in shown


def test_a_program_reads_the_same():
    shown = json.loads(to_json(told(a_call(), record())))
    assert shown["record"]["endReason"] == "local-hangup"
    assert [step["kind"] for step in shown["steps"]] == ["invite", "receipt", "ringing", "accept", "end"]
    assert [step["sent"] for step in shown["steps"]] == [False, True, True, True, True]
    first = shown["steps"][0]
    assert first["body"]["sdp"] == {"chars": len(OFFER), "sha256": digest(OFFER)}
    assert (first["sender"], first["recipient"]) == (ALICE.fingerprint, BOB.fingerprint)
    assert all(step["verified"] for step in shown["steps"])
    assert shown["problems"] == 0


def damaged(row: Kept, old: str, new: str) -> Kept:
    assert old in row.text
    return row._replace(text=row.text.replace(old, new))


def test_S04_what_was_altered_on_disk_does_not_verify():
    rows = a_call()
    rows[0] = damaged(rows[0], '"callType":"video"', '"callType":"audio"')
    rows[1] = rows[1]._replace(text="not an envelope")
    rows[2] = Kept(rows[2].at_ms, True, text(BOB, ALICE, Kind.RINGING, EmptyBody(), call_id="call_2"))
    signed = json.loads(rows[3].text)
    signed["author"]["pub"] = MALLORY.pub
    rows[3] = rows[3]._replace(text=json.dumps(signed))
    made = told(rows, record())
    assert [step.problem for step in made.steps] == ["hash", "envelope", "another-call", "fingerprint", None]
    drawn = ladder(made)
    assert drawn.count("NOT VERIFIED") == 4
    assert drawn.endswith("4 of 5 envelopes could NOT be verified.")


def test_every_user_of_a_conference_has_a_column():
    rows = kept(
        (0, False, text(ALICE, BOB, Kind.RINGING, EmptyBody())),
        (5, True, text(BOB, MALLORY, Kind.END, ReasonBody(reason="shutdown"))),
    )
    lines = ladder(told(rows)).splitlines()
    assert lines[-4:-2] == [
        "  +0.000 s  |<----- ringing ------|                     |  device a1a1",
        "  +0.005 s  |------------------ end ------------------->|  shutdown",
    ]


@pytest.mark.parametrize(
    ("alive", "rows", "why"),
    [
        (True, 1, "it is alive, or was when the process died"),
        (False, 1, "it left no record here"),
        (False, 0, "nothing is known of it"),
    ],
)
def test_a_call_without_a_record_says_so(alive: bool, rows: int, why: str):
    made = told(a_call()[:rows], alive=alive)
    assert made.why == why
    assert why in ladder(made)


def test_the_first_goodbye_counts_and_silence_is_said():
    assert told(a_call()[:3], record(EndReason.CONNECTION_LOST)).why == (
        "connection-lost: the path died and did not come back; nobody said goodbye"
    )


def test_every_reason_has_words():
    assert set(WHY) == set(EndReason)
    assert set(Kind) > HANGUPS


# --- what is kept -------------------------------------------------------------------------------------------


def now(function: Any, *args: Any) -> None:
    function(*args)


def filled(tmp_path: Path, write: Any) -> Path:
    store = open_store(tmp_path, now)
    write(store)
    store.close()
    return tmp_path


def calls_in(tmp_path: Path) -> dict[str, int]:
    with sqlite3.connect(tmp_path / DATABASE) as file:
        found = dict(file.execute("SELECT call_id, COUNT(*) FROM envelopes GROUP BY call_id"))
    file.close()
    return found


def test_what_one_end_seals_and_the_other_opens_is_kept_word_for_word(tmp_path: Path):
    sealed: list[tuple[str, str, bool]] = []
    opened: list[tuple[str, str, bool]] = []
    outbox, receiver = sender(), Receiver()
    outbox._on_envelope = lambda *told: sealed.append(told)
    receiver.inbox._on_envelope = lambda *told: opened.append(told)
    body = InviteBody(call_type="video", session=SESSION, display_name="Alice", sdp=OFFER)
    message = Message(CALL, Kind.INVITE, body, 0, 60, None)
    (leaf,) = outbox.write(message, recipient(ALICE, BOB), NOW_MS, 1000.0)
    assert receiver.take(pairwise_place(BOB, ALICE), leaf.key, leaf.value) is not None
    assert receiver.take(pairwise_place(BOB, ALICE), leaf.key, leaf.value) is None  # seen again, kept once
    (ours,), (theirs,) = sealed, opened
    assert (ours[0], ours[1], ours[2], theirs[2]) == (CALL, theirs[1], True, False)

    def write(store: Any) -> None:
        Envelopes(store, HandClock(), LOG).keep(*theirs)
        History(store, LOG).add(record())

    found = find(filled(tmp_path, write), CALL)
    assert found.record == record()
    assert found.kept == [Kept(NOW_MS, False, theirs[1])]
    assert explain(CALL, *found).problems == 0


def test_the_oldest_calls_go_first_but_strangers_push_out_nobody(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module, "CALLS_MAX", 3)
    monkeypatch.setattr(module, "TRIM_EVERY", 1)

    def write(store: Any) -> None:
        envelopes = Envelopes(store, HandClock(), LOG)
        envelopes.keep("ours_1", "x", False)
        envelopes.keep("ours_1", "x", True)
        envelopes.keep("ours_2", "x", True)
        for number in range(10):
            envelopes.keep(f"stranger_{number}", "x", False)

    assert calls_in(filled(tmp_path, write)) == {"ours_1": 2, "ours_2": 1, "stranger_9": 1}


def test_one_call_and_all_of_them_are_bounded_and_so_is_their_age(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module, "PER_CALL_MAX", 4)
    monkeypatch.setattr(module, "BYTES_MAX", 60)
    monkeypatch.setattr(module, "TRIM_EVERY", 1)
    clock = HandClock()

    def write(store: Any) -> None:
        envelopes = Envelopes(store, clock, LOG)
        envelopes.keep("old", "x" * 10, True)
        clock.advance(module.AGE_MAX_MS / 1000 + 1)
        for _ in range(9):
            envelopes.keep("long", "x" * 10, True)
        for _ in range(3):
            envelopes.keep("new", "x" * 10, True)

    assert calls_in(filled(tmp_path, write)) == {"long": 3, "new": 3}


def test_only_its_owner_reads_the_file(tmp_path: Path):
    for _ in range(2):
        filled(tmp_path, lambda store: None)
        assert (tmp_path / DATABASE).stat().st_mode & 0o777 == 0o600
        (tmp_path / DATABASE).chmod(0o644)


def test_a_call_nobody_knows_and_a_folder_of_no_node_are_told_apart(tmp_path: Path):
    with pytest.raises(UnavailableError):
        find(tmp_path, CALL)
    with pytest.raises(LocalError) as caught:
        find(filled(tmp_path, lambda store: None), CALL)
    assert caught.value.code is Code.CALL_NOT_FOUND


# --- the verb -----------------------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sidecar", "explain", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


def test_the_verb_draws_while_the_node_may_be_running(tmp_path: Path):
    store = open_store(tmp_path, now)  # open, with what was written last still in its log
    envelopes = Envelopes(store, HandClock(), LOG)
    for row in a_call():
        envelopes.keep(CALL, row.text, row.sent)
    History(store, LOG).add(record())
    committed = threading.Event()
    store.submit([], lambda stored: committed.set())
    assert committed.wait(10)
    drawn = run(CALL, "--data", str(tmp_path))
    store.close()
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert "All signatures verified: 5 of 5." in drawn.stdout
    shown = run(CALL, "--json", "--data", str(tmp_path))
    assert msgspec.json.decode(shown.stdout, type=dict)["callId"] == CALL
    missing = run("call_nothing", "--data", str(tmp_path))
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "nothing is known of 'call_nothing'" in missing.stderr
    assert run(CALL, "--data", str(tmp_path / "nowhere")).returncode == 3
