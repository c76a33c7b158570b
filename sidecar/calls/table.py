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

   ``row`` refuses a state whose triggers are not all named, so a new trigger forces ten decisions.
3. The two ends share the table. What can only happen at the other end is settled by ``ONE_SIDED`` first:
   a caller cannot accept its own call, and a callee takes no ``ringing``.
4. ``ENDED`` is final: no row leads out of it. An ended call answers a late accept, and a peer that tries to
   mend the connection, with the farewell that got lost (``conduct``), and that is all it does.
5. Each state has at most one deadline. It is set on entering, it is gone on leaving, and when it passes the
   trigger is ``TIMEOUT``. What a timeout means is the state's business, so there is one trigger for all.
6. Guards are not in here: the machine drops, before it asks the table, what names another connection, another
   device, another offer. A guard never changes a state.
7. Once media flows the ``Path`` has the word about the connection: what media and the peer say about it
   goes to the path and leaves the state as it is, and what the path makes of it comes back as ``PATH_UP``,
   ``PATH_DOWN`` or ``GIVEN_UP``.
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
    HOLD = "hold"
    RESUME = "resume"
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
    ONE_BUSY = "signal busy of one device"
    CANCELLED = "signal cancel"
    REMOTE_END = "signal end"
    OFFER = "signal offer"
    RESTART = "signal restart"
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
    # what the path has found out
    PATH_UP = "path up"
    PATH_DOWN = "path down"
    GIVEN_UP = "path given up"
    # another call of the same two users
    GLARE = "glare"
    REPLACED = "replaced"
    # this node
    SHUTDOWN = "shutdown"
    TIMEOUT = "timeout"


COMMANDS = frozenset(
    {
        Trigger.ACCEPT,
        Trigger.REJECT,
        Trigger.END,
        Trigger.HOLD,
        Trigger.RESUME,
        Trigger.MUTE,
        Trigger.USE,
    }
)
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


_PATH_SIGNALS = (T.OFFER, T.RESTART)
_NEWS = (T.PATH_UP, T.PATH_DOWN, T.GIVEN_UP)
_SUPERSEDED = (T.GLARE, T.REPLACED)
_CALLER_ENDS = (T.END, T.REJECTED, T.BUSY, T.REMOTE_END, T.UNDELIVERABLE, T.GLARE)
_FATAL = (T.PEER_BROKEN, T.PEER_REFUSED, T.MEDIA_LOST, T.SHUTDOWN, T.TIMEOUT)
_SOURCES = (T.MUTE, T.LINE, T.RECORDING, T.WARNING)

TABLE: Mapping[State, Mapping[Trigger, Decision]] = {
    # Nothing has left this node, so a peer cannot answer yet: whatever it says is about something else.
    S.PREPARING: row(
        to(S.INVITING, T.DESCRIPTION),
        to(S.ENDED, T.END, T.GLARE, *_FATAL),
        to(S.PREPARING, *_SOURCES),
        ignore(T.USE),
        wrong(T.ACCEPT, T.REJECT, T.HOLD, T.RESUME),
        drop(T.INVITE, T.RECEIPT, T.ALERT, T.ACCEPT_ANSWER, T.ACCEPT_OFFER, T.ANSWER, *_PATH_SIGNALS),
        drop(T.REJECTED, T.BUSY, T.ONE_BUSY, T.CANCELLED, T.REMOTE_END),
        drop(T.DELIVERED, T.DELAYED, T.UNDELIVERABLE, T.REPLACED),
        drop(T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.REMOTE_STATE, *_NEWS),
    ),
    # Delivered or received only tells, later, "no answer" from "unreachable". An accept may overtake the
    # ringing, and a hang-up may overtake the accept: both count. A busy device does not speak for the others.
    S.INVITING: row(
        to(S.ALERTING, T.ALERT),
        to(S.CONNECTING, T.ACCEPT_ANSWER),
        to(S.ANSWERING, T.ACCEPT_OFFER),
        to(S.ENDED, *_CALLER_ENDS, *_FATAL),
        to(S.INVITING, T.RECEIPT, T.ONE_BUSY, T.DELIVERED, *_SOURCES),
        ignore(T.DELAYED),
        ignore(T.USE),
        wrong(T.ACCEPT, T.REJECT, T.HOLD, T.RESUME),
        drop(T.INVITE, T.ANSWER, T.CANCELLED, T.DESCRIPTION, T.REPLACED, *_PATH_SIGNALS),
        drop(T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.REMOTE_STATE, *_NEWS),
    ),
    S.ALERTING: row(
        to(S.CONNECTING, T.ACCEPT_ANSWER),
        to(S.ANSWERING, T.ACCEPT_OFFER),
        to(S.ENDED, *_CALLER_ENDS, *_FATAL),
        to(S.ALERTING, T.RECEIPT, T.ALERT, T.ONE_BUSY, *_SOURCES),
        ignore(T.DELIVERED, T.DELAYED),
        ignore(T.USE),
        wrong(T.ACCEPT, T.REJECT, T.HOLD, T.RESUME),
        drop(T.INVITE, T.ANSWER, T.CANCELLED, T.DESCRIPTION, T.REPLACED, *_PATH_SIGNALS),
        drop(T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.REMOTE_STATE, *_NEWS),
    ),
    # No media is open: nothing to share or record, nothing that media could say, and a media process that
    # died will be back before the user has decided. Muting is remembered.
    S.RINGING: row(
        to(S.ANSWERING, T.ACCEPT),
        to(S.ENDED, T.REJECT, T.END, T.CANCELLED, T.REMOTE_END, T.REPLACED, T.SHUTDOWN, T.TIMEOUT),
        to(S.RINGING, T.MUTE),
        ignore(T.INVITE, T.DELIVERED, T.DELAYED, T.UNDELIVERABLE, T.MEDIA_LOST),
        wrong(T.USE, T.HOLD, T.RESUME),
        drop(T.RECEIPT, T.ALERT, T.ACCEPT_ANSWER, T.ACCEPT_OFFER, T.ANSWER, *_PATH_SIGNALS),
        drop(T.REJECTED, T.BUSY, T.ONE_BUSY, T.GLARE),
        drop(T.DESCRIPTION, T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.PEER_BROKEN, T.PEER_REFUSED),
        drop(T.REMOTE_STATE, T.LINE, T.RECORDING, T.WARNING, *_NEWS),
    ),
    # Both ends come through here: the callee always, the caller only when the accept brought an offer.
    # From here on a decline comes too late (the table says END), but a cancel that crossed the accept wins.
    S.ANSWERING: row(
        to(S.CONNECTING, T.DESCRIPTION),
        to(S.ENDED, T.END, T.CANCELLED, T.REMOTE_END, T.REPLACED, *_FATAL),
        to(S.ANSWERING, *_SOURCES),
        ignore(T.ACCEPT, T.INVITE, T.RECEIPT, T.ALERT, T.DELIVERED, T.DELAYED, T.UNDELIVERABLE),
        ignore(T.ACCEPT_ANSWER, T.ACCEPT_OFFER),
        ignore(T.USE),
        wrong(T.REJECT, T.HOLD, T.RESUME),
        drop(T.ANSWER, T.REJECTED, T.BUSY, T.ONE_BUSY, T.GLARE, *_PATH_SIGNALS),
        drop(T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.REMOTE_STATE, *_NEWS),
    ),
    # A connection that dies here may be a hang-up whose word is slower than its DTLS close: wait for it.
    S.CONNECTING: row(
        to(S.ACTIVE, T.CONNECTED),
        to(S.BROKEN, T.PEER_BROKEN),
        to(S.CONNECTING, T.ANSWER, T.REMOTE_STATE, *_SOURCES),
        to(S.ENDED, T.END, T.CANCELLED, T.REMOTE_END, T.UNDELIVERABLE, T.REPLACED),
        to(S.ENDED, T.PATH_LOST, T.PEER_REFUSED, T.MEDIA_LOST, T.SHUTDOWN, T.TIMEOUT),
        ignore(T.ACCEPT, T.INVITE, T.RECEIPT, T.ALERT, T.DELIVERED, T.DELAYED, T.PATH_CHANGED),
        ignore(T.ACCEPT_ANSWER, T.ACCEPT_OFFER),
        ignore(T.USE),
        wrong(T.REJECT, T.HOLD, T.RESUME),
        drop(T.DESCRIPTION, T.REJECTED, T.BUSY, T.ONE_BUSY, T.GLARE, *_PATH_SIGNALS, *_NEWS),
    ),
    # Media flows, so what became of a signal no longer matters. The connection is the path's business, its
    # deadlines too (rule 7); a connection that is refused for its security is not tried again.
    S.ACTIVE: row(
        to(S.ENDED, T.END, T.REMOTE_END, T.CANCELLED, T.REPLACED),
        to(S.ENDED, T.GIVEN_UP, T.PEER_REFUSED, T.MEDIA_LOST, T.SHUTDOWN),
        to(S.RECONNECTING, T.PATH_DOWN),
        to(S.ACTIVE, T.DESCRIPTION, T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.PEER_BROKEN, T.TIMEOUT),
        to(S.ACTIVE, T.ANSWER, *_PATH_SIGNALS),
        to(S.ACTIVE, T.HOLD, T.RESUME, T.REMOTE_STATE, *_SOURCES),
        ignore(T.ACCEPT, T.INVITE, T.RECEIPT, T.ALERT, T.PATH_UP),
        ignore(T.ACCEPT_ANSWER, T.ACCEPT_OFFER, T.DELIVERED, T.DELAYED, T.UNDELIVERABLE),
        ignore(T.USE),
        wrong(T.REJECT),
        drop(T.REJECTED, T.BUSY, T.ONE_BUSY, T.GLARE),
    ),
    S.RECONNECTING: row(
        to(S.ENDED, T.END, T.REMOTE_END, T.CANCELLED, T.REPLACED),
        to(S.ENDED, T.GIVEN_UP, T.PEER_REFUSED, T.MEDIA_LOST, T.SHUTDOWN),
        to(S.ACTIVE, T.PATH_UP),
        to(S.RECONNECTING, T.DESCRIPTION, T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.PEER_BROKEN, T.TIMEOUT),
        to(S.RECONNECTING, T.ANSWER, *_PATH_SIGNALS),
        to(S.RECONNECTING, T.HOLD, T.RESUME, T.REMOTE_STATE, *_SOURCES),
        ignore(T.ACCEPT, T.INVITE, T.RECEIPT, T.ALERT, T.PATH_DOWN),
        ignore(T.ACCEPT_ANSWER, T.ACCEPT_OFFER, T.DELIVERED, T.DELAYED, T.UNDELIVERABLE),
        ignore(T.USE),
        wrong(T.REJECT),
        drop(T.REJECTED, T.BUSY, T.ONE_BUSY, T.GLARE),
    ),
    # The first connection was gone before media flowed: there is nothing to be kept alive.
    S.BROKEN: row(
        to(S.ENDED, T.END, T.REMOTE_END, T.CANCELLED, T.REPLACED),
        to(S.ENDED, T.PATH_LOST, T.PEER_REFUSED, T.MEDIA_LOST, T.SHUTDOWN, T.TIMEOUT),
        to(S.BROKEN, *_SOURCES),
        ignore(T.ACCEPT, T.INVITE, T.RECEIPT, T.ALERT, T.ANSWER),
        ignore(T.ACCEPT_ANSWER, T.ACCEPT_OFFER, T.DELIVERED, T.DELAYED, T.UNDELIVERABLE),
        ignore(T.CONNECTED, T.PATH_CHANGED, T.PEER_BROKEN, T.REMOTE_STATE),
        ignore(T.USE),
        wrong(T.REJECT, T.HOLD, T.RESUME),
        drop(T.DESCRIPTION, T.REJECTED, T.BUSY, T.ONE_BUSY, T.GLARE, *_PATH_SIGNALS, *_NEWS),
    ),
    # A decline that crosses the caller's cancel has what it wanted; an accept has not (C15).
    S.ENDED: row(
        to(S.ENDED, T.ACCEPT_ANSWER, T.ACCEPT_OFFER, *_PATH_SIGNALS, T.RECORDING),
        ignore(T.END, T.REJECT, T.SHUTDOWN, T.MEDIA_LOST),
        ignore(T.INVITE, T.RECEIPT, T.ALERT, T.ANSWER, T.REJECTED, T.BUSY, T.ONE_BUSY),
        ignore(T.CANCELLED, T.REMOTE_END, *_SUPERSEDED),
        ignore(T.DELIVERED, T.DELAYED, T.UNDELIVERABLE),
        ignore(T.DESCRIPTION, T.CONNECTED, T.PATH_CHANGED, T.PATH_LOST, T.PEER_BROKEN, T.PEER_REFUSED),
        ignore(T.REMOTE_STATE, T.LINE, T.WARNING),
        wrong(T.ACCEPT, T.HOLD, T.RESUME, T.MUTE, T.USE),
        drop(T.TIMEOUT, *_NEWS),
    ),
}

ONE_SIDED: Mapping[Side, Mapping[Trigger, Verdict]] = {
    Side.CALLER: {
        T.ACCEPT: WRONG,
        T.REJECT: WRONG,
        T.INVITE: DROP,
        T.CANCELLED: DROP,
    },
    Side.CALLEE: {
        T.RECEIPT: DROP,
        T.ALERT: DROP,
        T.ACCEPT_ANSWER: DROP,
        T.ACCEPT_OFFER: DROP,
        T.REJECTED: DROP,
        T.BUSY: DROP,
        T.ONE_BUSY: DROP,
        T.GLARE: DROP,
    },
}
"""Rule 3: what only ever happens at the other end."""


def decide(side: Side, state: State, trigger: Trigger) -> Decision:
    """The one decision for this pair at this end."""
    return ONE_SIDED[side].get(trigger) or TABLE[state][trigger]
