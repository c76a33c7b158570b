"""All calls of this node: makes them, finds the one an event belongs to, remembers those that ended.

Everything here that a peer can fill is bounded by ``Rules``: live calls, ended ones, parked hang-ups.
"""

from __future__ import annotations

from collections import Counter, deque

from sidecar.errors import Code, DeniedError, LocalError, RemoteError
from sidecar.schema import CallSession, CallType, EndReason, MediaTrackKind
from sidecar.signaling.messages import InviteBody, Kind, ReasonBody

from . import effects as f
from . import events as e
from .facts import Facts
from .machine import Call
from .people import claimed
from .reasons import mirrored
from .rules import Rules
from .states import Side

COMMANDS = (e.Accept, e.Reject, e.End, e.Mute, e.UseMedia)
"""Events whose maker is told when there is no such call."""


_CALL_TYPES = frozenset(call_type.value for call_type in CallType)


class Switchboard:
    """``handle`` and ``handle_timer`` return effects, to be performed in their order."""

    def __init__(self, rules: Rules, user_id: str, display_name: str) -> None:
        self.rules = rules
        self.user_id = user_id
        self.display_name = display_name
        """What we call ourselves in invitations; may be set at any time."""
        self.dropped: Counter[str] = Counter()
        """How often something was dropped, by reason; the reasons are words of this package."""
        self._calls: dict[str, Call] = {}
        self._live: dict[str, Call] = {}
        self._leaving: deque[tuple[float, str]] = deque()
        self._forgetting: deque[tuple[float, str]] = deque()
        self._parked: dict[tuple[str, str], tuple[float, e.SignalArrived]] = {}

    # --- looking ---------------------------------------------------------------------------------------

    def session(self, call_id: str) -> CallSession | None:
        """A call, ended ones included for a while."""
        call = self._calls.get(call_id)
        return call.session() if call else None

    def active(self) -> list[CallSession]:
        """The calls that have not ended."""
        return [call.session() for call in self._live.values()]

    def sends(self, call_id: str, kind: MediaTrackKind) -> bool:
        """Whether a line of ours has a source, muted or not."""
        call = self._calls.get(call_id)
        return call is not None and kind in call.me.lines

    # --- time ------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` is due, in monotonic seconds; None while there is nothing to wait for."""
        due = [call.deadline for call in self._live.values() if call.deadline is not None]
        due += [queue[0][0] for queue in (self._leaving, self._forgetting) if queue]
        due += [until for until, _ in self._parked.values()]
        return min(due, default=None)

    def handle_timer(self, now: float) -> list[f.Effect]:
        """Does what has become due."""
        out: list[f.Effect] = []
        for call in list(self._live.values()):
            if call.deadline is not None and call.deadline <= now:
                out += self._told(call, None, now)
        while self._leaving and self._leaving[0][0] <= now:
            out.append(f.LeaveSession(call_id=self._leaving.popleft()[1]))
        while self._forgetting and self._forgetting[0][0] <= now:
            del self._calls[self._forgetting.popleft()[1]]
        for key in [key for key, (until, _) in self._parked.items() if until <= now]:
            del self._parked[key]
        return out

    # --- events ----------------------------------------------------------------------------------------

    def handle(self, event: e.Event, now: float) -> list[f.Effect]:
        """Takes one event.

        Raises ``LocalError`` (call.not-found, call.wrong-state, invalid-params) or ``DeniedError`` for a
        command that cannot be. Whatever peers or media get wrong is counted in ``dropped``.
        """
        try:
            match event:
                case e.Initiate():
                    return self._initiate(event, now)
                case e.SignalArrived():
                    return self._arrived(event, now)
                case e.CallEvent():
                    return self._told(self._find(event), event, now)
                case _:
                    return [
                        effect
                        for call in list(self._live.values())
                        for effect in self._told(call, event, now)
                    ]
        except RemoteError as error:
            self.dropped[error.reason] += 1
            return []

    def _find(self, event: e.CallEvent) -> Call:
        call = self._calls.get(event.call_id)
        if call is not None:
            return call
        if isinstance(event, COMMANDS):
            raise LocalError("there is no such call", code=Code.CALL_NOT_FOUND)
        raise RemoteError("unknown-call")

    def _told(self, call: Call, event: e.Event | None, now: float) -> list[f.Effect]:
        out = call.handle(event, now)
        if call.ended and self._live.pop(call.facts.call_id, None) is not None:
            self._keep(call, now)
            self._leaving.append((now + self.rules.linger_s, call.facts.call_id))
            if len(self._leaving) > self.rules.ended_max:
                out.append(f.LeaveSession(call_id=self._leaving.popleft()[1]))
        return out

    def _keep(self, call: Call, now: float) -> None:
        """Remembers an ended call, for what is still on its way to it."""
        if len(self._forgetting) >= self.rules.ended_max:
            del self._calls[self._forgetting.popleft()[1]]
        self._calls[call.facts.call_id] = call
        self._forgetting.append((now + self.rules.ended_ttl_s, call.facts.call_id))

    # --- outgoing --------------------------------------------------------------------------------------

    def _initiate(self, event: e.Initiate, now: float) -> list[f.Effect]:
        self._allow(event)
        facts = Facts(
            call_id=event.call_id,
            side=Side.CALLER,
            call_type=event.call_type,
            me_id=self.user_id,
            me_name=self.display_name,
            peer_id=event.user_id,
            peer_name=event.display_name,
            contact=event.relation is e.Relation.CONTACT,
            offered=event.relation is e.Relation.CONTACT,
            session=event.session,
            created=now,
            created_ms=event.at_ms,
            ring_until=now + self.rules.ring_timeout_s,
            room_id=event.room_id,
            domain_id=event.domain_id,
        )
        return self._admit(Call(self.rules, facts), now)

    def _admit(self, call: Call, now: float, invitation: e.SignalArrived | None = None) -> list[f.Effect]:
        self._calls[call.facts.call_id] = self._live[call.facts.call_id] = call
        return call.begin(now, invitation)

    def _allow(self, event: e.Initiate) -> None:
        """Whether our user may start this call (C16)."""
        if event.user_id == self.user_id:
            raise LocalError("a call needs somebody else", details={"field": "userId"})
        if event.relation is e.Relation.BLOCKED:
            raise DeniedError("this user is blocked")
        if event.relation is e.Relation.UNKNOWN:
            raise LocalError("no key of this user is known", details={"field": "userId"})
        busy = self._busy_with(event.user_id)
        if busy is not None or event.call_id in self._calls:
            raise LocalError(
                "another call is on; end it first",
                code=Code.CALL_WRONG_STATE,
                details={"callId": busy or event.call_id},
            )

    def _busy_with(self, user_id: str) -> str | None:
        """The call that stands in the way of one with this user: never two of a pair, never too many."""
        live = list(self._live.values())
        with_user = [call for call in live if call.facts.peer_id == user_id]
        blocking = with_user or (live if len(live) >= self.rules.calls_max else [])
        return blocking[0].facts.call_id if blocking else None

    # --- incoming --------------------------------------------------------------------------------------

    def _arrived(self, event: e.SignalArrived, now: float) -> list[f.Effect]:
        signal = event.signal
        call = self._calls.get(signal.call_id)
        if call is not None:
            if call.facts.peer_id != event.user_id:
                raise RemoteError("wrong-peer")
            return self._told(call, event, now)
        if signal.kind is Kind.INVITE:
            return self._invited(event, now)
        if signal.kind in (Kind.CANCEL, Kind.END) and event.contact:
            return self._park(event, now)
        raise RemoteError("unknown-call")

    def _park(self, event: e.SignalArrived, now: float) -> list[f.Effect]:
        """A hang-up that overtook its invitation waits for it (C06)."""
        self._parked.setdefault((event.user_id, event.signal.call_id), (now + self.rules.parked_ttl_s, event))
        if len(self._parked) > self.rules.parked_max:
            del self._parked[next(iter(self._parked))]
            self.dropped["parked-full"] += 1
        return []

    def _invited(self, event: e.SignalArrived, now: float) -> list[f.Effect]:
        call = Call(self.rules, self._facts_of(event, now))
        _, parked = self._parked.pop((event.user_id, event.signal.call_id), (0.0, None))
        if parked is not None and isinstance(parked.signal.body, ReasonBody):
            self._keep(call, now)
            return call.miss(mirrored(parked.signal.kind, parked.signal.body.reason), now)
        if self._busy_with(event.user_id) is None:
            return self._admit(call, now, event)
        self._keep(call, now)
        return call.miss(EndReason.BUSY, now) + self._say_busy(call, event)

    def _say_busy(self, call: Call, event: e.SignalArrived) -> list[f.Effect]:
        if not event.contact:
            return []
        call.peer_device = event.signal.sender.device
        return [call.say(Kind.BUSY, ReasonBody(reason=EndReason.BUSY.value))]

    def _facts_of(self, event: e.SignalArrived, now: float) -> Facts:
        signal, body = event.signal, event.signal.body
        if event.user_id == self.user_id:
            raise RemoteError("own-invitation")
        if not event.contact and not self.rules.strangers_ring:
            raise RemoteError("stranger")
        if not isinstance(body, InviteBody) or body.call_type not in _CALL_TYPES:
            raise RemoteError("malformed-invitation")
        left_s = (signal.expires_at_ms - event.network_ms) / 1000
        if left_s <= 0:
            raise RemoteError("expired")
        return Facts(
            call_id=signal.call_id,
            side=Side.CALLEE,
            call_type=CallType(body.call_type),
            me_id=self.user_id,
            me_name=self.display_name,
            peer_id=event.user_id,
            peer_name=event.display_name or claimed(body.display_name),
            contact=event.contact,
            offered=event.contact and body.sdp is not None,
            session=body.session,
            created=now,
            created_ms=event.at_ms,
            ring_until=now + min(self.rules.ring_timeout_s, left_s),
            room_id=signal.room_id,
            domain_id=signal.domain_id,
        )
