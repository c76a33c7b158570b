"""The transition table of a 1:1 call. Everything that changes the state of a call is in this file.

Rules:

1. A call is in exactly one ``State`` and is moved by exactly one ``Trigger`` at a time. A trigger is an event
   whose meaning for the table is settled: an accept that carries an answer and one that carries an offer are
   two triggers, a path that is lost and one that is merely suspect are two.
2. Every (state, trigger) pair is decided, in one of four ways:

   * a ``State``: the call goes there and acts. The same state means that it acts and stays.
   * ``IGNORE``: nothing happens. For a user's command it means *already so*: the command succeeds again,
     with the same result (C14).
   * ``WRONG``: the command makes no sense now; its caller gets ``call.wrong-state`` and nothing changes.
   * ``DROP``: a peer or the media said something that has no place here; it is counted and forgotten.

   ``row`` refuses a state whose triggers are not all named, so a new trigger forces nine decisions.
3. The two ends share the table. What can only happen at the other end is settled by ``ONE_SIDED`` first:
   a caller cannot accept its own call, and a callee takes no ``ringing``.
4. ``ENDED`` is final: no row leads out of it. An ended call answers a late accept with the farewell that got
   lost (``machine``), and that is all it does.
5. Each state has at most one deadline. It is set on entering, it is gone on leaving, and when it passes the
   trigger is ``TIMEOUT``. What a timeout means is the state's business, so there is one trigger for all.
6. Guards are not in here: the machine drops, before it asks the table, what names another connection, another
   device, another offer. A guard never changes a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from .states import Side, State


class Trigger(Enum):
    """What can happen to a call."""

    # commands of our user
    ACCEPT = "accept"
    REJECT = "reject"
    END = "end"
    MUTE = "mute"
    USE = "use media"
    # signals of the peer
    INVITE = "signal invite"
    RECEIPT = "signal receipt"
    ALERT = "signal ringing"
    ACCEPT_ANSWER = "signal accept with answer"
    ACCEPT_OFFER = "signal accept with offer"
    ANSWER = "signal answer"
    REJECTED = "signal reject"
    BUSY = "signal busy"
    CANCELLED = "signal cancel"
    REMOTE_END = "signal end"
    # what became of our own signals
    DELIVERED = "delivered"
    DELAYED = "delayed"
    UNDELIVERABLE = "undeliverable"
    # media
    DESCRIPTION = "local description"
    CONNECTED = "peer connected"
    PATH_CHANGED = "path changed"
    PATH_LOST = "path lost"
    PEER_BROKEN = "peer broken"
    PEER_REFUSED = "peer refused"
    REMOTE_STATE = "remote state"
    LINE = "line changed"
    RECORDING = "recording changed"
    WARNING = "media warning"
    MEDIA_LOST = "media lost"
    # this node
    SHUTDOWN = "shutdown"
    TIMEOUT = "timeout"


COMMANDS = frozenset({Trigger.ACCEPT, Trigger.REJECT, Trigger.END, Trigger.MUTE, Trigger.USE})
"""Triggers that somebody waits for an answer to; only they can be ``WRONG``."""


class Verdict(Enum):
    """A decision that is not a transition (rule 2)."""

    IGNORE = "ignore"
    WRONG = "wrong"
    DROP = "drop"


IGNORE, WRONG, DROP = Verdict.IGNORE, Verdict.WRONG, Verdict.DROP
Decision = State | Verdict
T, S = Trigger, State


def row(*parts: Mapping[Trigger, Decision]) -> Mapping[Trigger, Decision]:
    """One state's decisions, checked: every trigger once, and ``WRONG`` only for commands."""
    decided: dict[Trigger, Decision] = {}
    for part in parts:
        twice = decided.keys() & part.keys()
        if twice:
            raise ValueError(f"decided twice: {sorted(t.value for t in twice)}")
        decided.update(part)
    missing = set(Trigger) - decided.keys()
    if missing:
        raise ValueError(f"not decided: {sorted(t.value for t in missing)}")
    if any((verdict is WRONG) and trigger not in COMMANDS for trigger, verdict in decided.items()):
        raise ValueError("only a command has somebody to tell that it is wrong")
    return decided


def to(state: State, *triggers: Trigger) -> Mapping[Trigger, Decision]:
    """These triggers lead to ``state``."""
    return dict.fromkeys(triggers, state)


def ignore(*triggers: Trigger) -> Mapping[Trigger, Decision]:
    """These triggers are expected here and change nothing."""
    return dict.fromkeys(triggers, IGNORE)


def wrong(*triggers: Trigger) -> Mapping[Trigger, Decision]:
    """These commands fail here."""
    return dict.fromkeys(triggers, WRONG)


def drop(*triggers: Trigger) -> Mapping[Trigger, Decision]:
    """These triggers have no place here."""
    return dict.fromkeys(triggers, DROP)


TABLE: Mapping[State, Mapping[Trigger, Decision]] = {
    # Nothing has left this node, so a peer cannot answer yet: whatever it says is about something else.
    S.PREPARING: row(
        to(S.INVITING, T.DESCRIPTION),
        to(S.ENDED, T.END, T.PEER_BROKEN, T.PEER_REFUSED, T.MEDIA_LOST, T.SHUTDOWN, T.TIMEOUT),
        to(S.PREPARING, T.MUTE, T.LINE, T.RECORDING, T.WARNING),
        ignore(T.USE),
        wrong(T.ACCEPT, T.REJECT),
        drop(T.INVITE, T.RECEIPT, T.ALERT, T.ACCEPT_ANSWER, T.ACCEPT_OFFER, T.ANSWER),
        drop(T.REJECTED, T.BUSY, T.CANCELLED, T.REMOTE_END),
        drop(T.DELIVERED, T.DELAYED, T.UNDELIVERABLE),
        drop(T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.REMOTE_STATE),
    ),
    # Delivered or received only tells, later, "no answer" from "unreachable". An accept may overtake the
    # ringing, and a hang-up may overtake the accept: both count.
    S.INVITING: row(
        to(S.ALERTING, T.ALERT),
        to(S.CONNECTING, T.ACCEPT_ANSWER),
        to(S.ANSWERING, T.ACCEPT_OFFER),
        to(S.ENDED, T.END, T.REJECTED, T.BUSY, T.REMOTE_END, T.UNDELIVERABLE),
        to(S.ENDED, T.PEER_BROKEN, T.PEER_REFUSED, T.MEDIA_LOST, T.SHUTDOWN, T.TIMEOUT),
        to(S.INVITING, T.RECEIPT, T.DELIVERED, T.MUTE, T.LINE, T.RECORDING, T.WARNING),
        ignore(T.DELAYED),
        ignore(T.USE),
        wrong(T.ACCEPT, T.REJECT),
        drop(T.INVITE, T.ANSWER, T.CANCELLED, T.DESCRIPTION),
        drop(T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.REMOTE_STATE),
    ),
    S.ALERTING: row(
        to(S.CONNECTING, T.ACCEPT_ANSWER),
        to(S.ANSWERING, T.ACCEPT_OFFER),
        to(S.ENDED, T.END, T.REJECTED, T.BUSY, T.REMOTE_END, T.UNDELIVERABLE),
        to(S.ENDED, T.PEER_BROKEN, T.PEER_REFUSED, T.MEDIA_LOST, T.SHUTDOWN, T.TIMEOUT),
        to(S.ALERTING, T.MUTE, T.LINE, T.RECORDING, T.WARNING),
        ignore(T.RECEIPT, T.ALERT, T.DELIVERED, T.DELAYED),
        ignore(T.USE),
        wrong(T.ACCEPT, T.REJECT),
        drop(T.INVITE, T.ANSWER, T.CANCELLED, T.DESCRIPTION),
        drop(T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.REMOTE_STATE),
    ),
    # No media is open: nothing to share or record, nothing that media could say, and a media process that
    # died will be back before the user has decided. Muting is remembered.
    S.RINGING: row(
        to(S.ANSWERING, T.ACCEPT),
        to(S.ENDED, T.REJECT, T.END, T.CANCELLED, T.REMOTE_END, T.SHUTDOWN, T.TIMEOUT),
        to(S.RINGING, T.MUTE),
        ignore(T.INVITE, T.DELIVERED, T.DELAYED, T.UNDELIVERABLE, T.MEDIA_LOST),
        wrong(T.USE),
        drop(T.RECEIPT, T.ALERT, T.ACCEPT_ANSWER, T.ACCEPT_OFFER, T.ANSWER, T.REJECTED, T.BUSY),
        drop(T.DESCRIPTION, T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.PEER_BROKEN, T.PEER_REFUSED),
        drop(T.REMOTE_STATE, T.LINE, T.RECORDING, T.WARNING),
    ),
    # Both ends come through here: the callee always, the caller only when the accept brought an offer.
    # From here on a decline comes too late (the table says END), but a cancel that crossed the accept wins.
    S.ANSWERING: row(
        to(S.CONNECTING, T.DESCRIPTION),
        to(S.ENDED, T.END, T.CANCELLED, T.REMOTE_END),
        to(S.ENDED, T.PEER_BROKEN, T.PEER_REFUSED, T.MEDIA_LOST, T.SHUTDOWN, T.TIMEOUT),
        to(S.ANSWERING, T.MUTE, T.LINE, T.RECORDING, T.WARNING),
        ignore(T.ACCEPT, T.INVITE, T.RECEIPT, T.ALERT, T.DELIVERED, T.DELAYED, T.UNDELIVERABLE),
        ignore(T.ACCEPT_ANSWER, T.ACCEPT_OFFER),
        ignore(T.USE),
        wrong(T.REJECT),
        drop(T.ANSWER, T.REJECTED, T.BUSY),
        drop(T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.REMOTE_STATE),
    ),
    # A connection that dies here may be a hang-up whose word is slower than its DTLS close: wait for it.
    S.CONNECTING: row(
        to(S.ACTIVE, T.CONNECTED),
        to(S.BROKEN, T.PEER_BROKEN),
        to(S.CONNECTING, T.ANSWER, T.REMOTE_STATE, T.MUTE, T.LINE, T.RECORDING, T.WARNING),
        to(S.ENDED, T.END, T.CANCELLED, T.REMOTE_END, T.UNDELIVERABLE),
        to(S.ENDED, T.PATH_LOST, T.PEER_REFUSED, T.MEDIA_LOST, T.SHUTDOWN, T.TIMEOUT),
        ignore(T.ACCEPT, T.INVITE, T.RECEIPT, T.ALERT, T.DELIVERED, T.DELAYED, T.PATH_CHANGED),
        ignore(T.ACCEPT_ANSWER, T.ACCEPT_OFFER),
        ignore(T.USE),
        wrong(T.REJECT),
        drop(T.DESCRIPTION, T.REJECTED, T.BUSY),
    ),
    # Media flows, so what became of a signal no longer matters. No deadline: liveness (D5) is the media's
    # to judge, and ends the call as PATH_LOST.
    S.ACTIVE: row(
        to(S.BROKEN, T.PEER_BROKEN),
        to(S.ENDED, T.END, T.REMOTE_END, T.CANCELLED),
        to(S.ENDED, T.PATH_LOST, T.PEER_REFUSED, T.MEDIA_LOST, T.SHUTDOWN),
        to(S.ACTIVE, T.REMOTE_STATE, T.MUTE, T.LINE, T.RECORDING, T.WARNING),
        ignore(T.ACCEPT, T.INVITE, T.RECEIPT, T.ALERT, T.ANSWER, T.CONNECTED, T.PATH_CHANGED),
        ignore(T.ACCEPT_ANSWER, T.ACCEPT_OFFER, T.DELIVERED, T.DELAYED, T.UNDELIVERABLE),
        ignore(T.USE),
        wrong(T.REJECT),
        drop(T.DESCRIPTION, T.REJECTED, T.BUSY, T.TIMEOUT),
    ),
    # The connection is gone for good in this version (a new generation comes with reconnecting).
    S.BROKEN: row(
        to(S.ENDED, T.END, T.REMOTE_END, T.CANCELLED),
        to(S.ENDED, T.PATH_LOST, T.PEER_REFUSED, T.MEDIA_LOST, T.SHUTDOWN, T.TIMEOUT),
        to(S.BROKEN, T.MUTE, T.LINE, T.RECORDING, T.WARNING),
        ignore(T.ACCEPT, T.INVITE, T.RECEIPT, T.ALERT, T.ANSWER),
        ignore(T.ACCEPT_ANSWER, T.ACCEPT_OFFER, T.DELIVERED, T.DELAYED, T.UNDELIVERABLE),
        ignore(T.CONNECTED, T.PATH_CHANGED, T.PEER_BROKEN, T.REMOTE_STATE),
        ignore(T.USE),
        wrong(T.REJECT),
        drop(T.DESCRIPTION, T.REJECTED, T.BUSY),
    ),
    # A decline that crosses the caller's cancel has what it wanted; an accept has not (C15).
    S.ENDED: row(
        to(S.ENDED, T.ACCEPT_ANSWER, T.ACCEPT_OFFER, T.RECORDING),
        ignore(T.END, T.REJECT, T.SHUTDOWN, T.MEDIA_LOST),
        ignore(T.INVITE, T.RECEIPT, T.ALERT, T.ANSWER, T.REJECTED, T.BUSY, T.CANCELLED, T.REMOTE_END),
        ignore(T.DELIVERED, T.DELAYED, T.UNDELIVERABLE),
        ignore(T.DESCRIPTION, T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.PEER_BROKEN, T.PEER_REFUSED),
        ignore(T.REMOTE_STATE, T.LINE, T.WARNING),
        wrong(T.ACCEPT, T.MUTE, T.USE),
        drop(T.TIMEOUT),
    ),
}

ONE_SIDED: Mapping[Side, Mapping[Trigger, Verdict]] = {
    Side.CALLER: {
        T.ACCEPT: WRONG,
        T.REJECT: WRONG,
        T.INVITE: DROP,
        T.ANSWER: DROP,
        T.CANCELLED: DROP,
    },
    Side.CALLEE: {
        T.RECEIPT: DROP,
        T.ALERT: DROP,
        T.ACCEPT_ANSWER: DROP,
        T.ACCEPT_OFFER: DROP,
        T.REJECTED: DROP,
        T.BUSY: DROP,
    },
}
"""Rule 3: what only ever happens at the other end."""


def decide(side: Side, state: State, trigger: Trigger) -> Decision:
    """The one decision for this pair at this end."""
    return ONE_SIDED[side].get(trigger) or TABLE[state][trigger]
