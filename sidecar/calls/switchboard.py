"""All calls of this node: makes them, finds the one an event belongs to, remembers those that ended.

Everything here that a peer can fill is bounded by ``Rules``: live calls, ended ones, parked hang-ups.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import NoReturn

from sidecar.errors import Code, DeniedError, LocalError, RemoteError
from sidecar.schema import CallSession, CallType, EndReason, MediaTrackKind
from sidecar.signaling.messages import InviteBody, Kind, ReasonBody
from sidecar.trust.names import claimed
from sidecar.trust.rates import RateLimits

from . import effects as f
from . import events as e
from .facts import Facts
from .machine import Call
from .notes import LiveNote, of_call
from .reasons import mirrored
from .rules import Rules
from .states import UNANSWERED, Side, State

COMMANDS = (e.Accept, e.Reject, e.End, e.Hold, e.Resume, e.Mute, e.UseMedia)
"""Events whose maker is told when there is no such call."""

_CALL_TYPES = frozenset(call_type.value for call_type in CallType)


class Switchboard:
    """``handle`` and ``handle_timer`` return effects, to be performed in their order."""

    def __init__(
        self, rules: Rules, user_id: str, display_name: str, *, public_key: str = "", device: str = ""
    ) -> None:
        """``public_key``: ours as signals spell it; of two crossing calls that of the smaller key stands."""
        self.rules = rules
        self.user_id = user_id
        self.display_name = display_name
        """What we call ourselves in invitations; may be set at any time."""
        self.elsewhere: Callable[[], str | None] = lambda: None
        """The conference that claims our user, if one does."""
        self._public_key = public_key
        self._device = device
        brief, long = rules.stranger_rings
        self._rates = RateLimits({"stranger-ring": brief, "stranger-ring-long": long})
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

    def device_of(self, call_id: str, user_id: str) -> str | None:
        """The device of the peer that a call is with; None as long as that is not known."""
        call = self._calls.get(call_id)
        return call.peer_device if call is not None and call.peer.user_id == user_id else None

    def active(self) -> list[CallSession]:
        """The calls that have not ended; a stranger's that nobody has taken is none yet."""
        return [call.session() for call in self._live.values() if not _is_request(call)]

    def calls_with(self, users: Collection[str]) -> list[str]:
        """The live calls with any of these users, strangers' requests included."""
        return [call_id for call_id, call in self._live.items() if call.facts.peer_id in users]

    def notes(self) -> list[LiveNote]:
        """What a crash would leave behind."""
        return [of_call(call) for call in self._live.values()]

    def sends(self, call_id: str, kind: MediaTrackKind) -> bool:
        """Whether a line of ours has a source, muted or not."""
        call = self._calls.get(call_id)
        return call is not None and kind in call.me.lines

    def all_lost(self) -> list[e.PeerLiveness]:
        """The report that nothing comes over any of the connections any more (C19)."""
        return [
            e.PeerLiveness(
                call_id=call_id, user_id=call.facts.peer_id, gen=call.path.current, level=e.Level.LOST
            )
            for call_id, call in self._live.items()
            if call.path is not None and call.path.current is not None
        ]

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
                case e.Accept() | e.Resume():
                    return self._take_up(event, now)
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
            if call.reads:
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

    def has(self, call_id: str) -> bool:
        """Whether a call of that id lives here."""
        return call_id in self._live

    def release(self, call_id: str, user_id: str | None = None, device: str | None = None) -> Call:
        """Gives away a connected call, which becomes a conference (DESIGN section 6, ``conference:invite``).

        ``user_id`` and ``device``: whose word it is, None for our own user's. Raises RemoteError otherwise.
        """
        call = self._live.get(call_id)
        if call is None or call.path is None or user_id not in (None, call.facts.peer_id):
            raise RemoteError("unknown-call")
        if device not in (None, call.peer_device):
            raise RemoteError("wrong-peer")
        del self._live[call_id], self._calls[call_id]
        return call

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
            me_device=self._device,
            devices=frozenset(event.devices),
            session=event.session,
            created=now,
            created_ms=event.at_ms,
            ring_until=now + self.rules.ring_timeout_s,
            room_id=event.room_id,
            domain_id=event.domain_id,
        )
        call = Call(self.rules, facts)
        call.owner = event.owner
        return self._admit(call, now)

    def _admit(self, call: Call, now: float, invitation: e.SignalArrived | None = None) -> list[f.Effect]:
        self._calls[call.facts.call_id] = self._live[call.facts.call_id] = call
        return call.begin(now, invitation)

    def _take_up(self, event: e.Accept | e.Resume, now: float) -> list[f.Effect]:
        """One conversation at a time: another one has to be held or ended first."""
        call = self._find(event)
        others = [other.call_id for other in self._talking() if other is not call]
        others += filter(None, [self.elsewhere()])
        if (
            not call.ended
            and call.me.held is isinstance(event, e.Resume)
            and len(others) >= self.rules.calls_max
        ):
            self._refuse_second(others[0])
        return self._told(call, event, now)

    def _refuse_second(self, call_id: str) -> NoReturn:
        raise LocalError(
            "another call is on; hold or end it first",
            code=Code.CALL_WRONG_STATE,
            details={"callId": call_id},
        )

    def _allow(self, event: e.Initiate) -> None:
        """Whether our user may start this call (C16)."""
        if event.user_id == self.user_id:
            raise LocalError("a call needs somebody else", details={"field": "userId"})
        if event.relation is e.Relation.BLOCKED:
            raise DeniedError("this user is blocked")
        if event.relation is e.Relation.UNKNOWN:
            raise LocalError("userId: no key of this user is known", details={"field": "userId"})
        rival = self._with(event.user_id)
        busy = rival.facts.call_id if rival else self.busy()
        if busy is not None or event.call_id in self._calls:
            self._refuse_second(busy or event.call_id)

    def _with(self, user_id: str) -> Call | None:
        """The live call with that user: there are never two of a pair."""
        return next((call for call in self._live.values() if call.facts.peer_id == user_id), None)

    def _talking(self) -> list[Call]:
        """The calls that claim our user: those on hold and mere requests do not."""
        return [call for call in self._live.values() if not call.me.held and not _is_request(call)]

    def busy(self) -> str | None:
        """The call that stands in the way of one more."""
        talking = [*(call.call_id for call in self._talking()), *filter(None, [self.elsewhere()])]
        if len(talking) >= self.rules.calls_max:
            return talking[0]
        held = [call for call in self._live.values() if call.me.held]
        return held[0].facts.call_id if len(held) >= self.rules.held_max else None

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
        rival = self._with(event.user_id)
        call = Call(self.rules, self._facts_of(event, rival, now))
        _, parked = self._parked.pop((event.user_id, event.signal.call_id), (0.0, None))
        if parked is not None and isinstance(parked.signal.body, ReasonBody):
            self._keep(call, now)
            return call.miss(mirrored(parked.signal.kind, parked.signal.body.reason), now)
        if rival is not None:
            return self._contest(rival, call, event, now)
        if call.facts.ring_until - now < self.rules.min_ring_s:
            self._keep(call, now)
            return call.miss(EndReason.NO_ANSWER, now)
        if call.facts.silent:
            return self._request(call, event, now)
        if self.busy() is None:
            return [*self._admit(call, now, event), *call.ring(event)]
        return self._say_busy(call, event, now)

    def _contest(self, rival: Call, call: Call, event: e.SignalArrived, now: float) -> list[f.Effect]:
        """Two calls of one pair: crossing ones (C01), one that came late, or a recall (C04)."""
        crossing = rival.facts.side is Side.CALLER and rival.state in UNANSWERED
        if crossing and not event.signal.sender.pub < self._public_key:
            self._keep(call, now)
            return call.forgo(now)
        if crossing:
            wanted = rival.me.lines
            out = self._told(rival, _superseded(rival, EndReason.GLARE), now)
            out += self._admit(call, now, event)
            taken = e.Accept(call_id=call.facts.call_id, kinds=wanted, owner=rival.owner)
            call.me.muted = rival.me.muted
            return out + self._told(call, taken, now)
        if not _is_request(rival) and event.signal.issued_at_ms <= rival.heard_ms:
            self._keep(call, now)
            return call.forgo(now)
        out = self._told(rival, _superseded(rival, EndReason.REPLACED), now)
        return out + self._invited_anew(call, event, now)

    def _invited_anew(self, call: Call, event: e.SignalArrived, now: float) -> list[f.Effect]:
        """The recall rings, unless something else has come in between."""
        if call.facts.silent:
            return self._request(call, event, now)
        if self.busy() is not None:
            return self._say_busy(call, event, now)
        return [*self._admit(call, now, event), *call.ring(event)]

    def _request(self, call: Call, event: e.SignalArrived, now: float) -> list[f.Effect]:
        """A stranger's call waits to be looked at (D8)."""
        if sum(map(_is_request, self._live.values())) >= self.rules.requests_max:
            raise RemoteError("too-many-requests")
        return [*self._admit(call, now, event), *call.ring(event)]

    def _say_busy(self, call: Call, event: e.SignalArrived, now: float) -> list[f.Effect]:
        """Our user is told that somebody called, the caller (a contact) that we are in a call (C05)."""
        self._keep(call, now)
        offer = call.offer_shown(event, waiting=True)
        out = [*call.miss(EndReason.BUSY, now), call.notify("aleph:callOffer", offer), call.state_change()]
        if not event.contact:
            return out
        call.peer_device = event.signal.sender.device
        return [*out, call.say(Kind.BUSY, ReasonBody(reason=EndReason.BUSY.value))]

    def _is_silent(self, event: e.SignalArrived, rival: Call | None, now: float) -> bool:
        """Whether the call makes no noise: a stranger's, unless strangers may ring or we are calling it."""
        if event.contact or (rival is not None and rival.facts.side is Side.CALLER):
            return False
        if not self.rules.strangers_ring:
            return True
        return not all(self._rates.allow(name, "", now) for name in ("stranger-ring", "stranger-ring-long"))

    def _facts_of(self, event: e.SignalArrived, rival: Call | None, now: float) -> Facts:
        signal, body = event.signal, event.signal.body
        if event.user_id == self.user_id:
            raise RemoteError("own-invitation")
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
            me_device=self._device,
            silent=self._is_silent(event, rival, now),
            room_id=signal.room_id,
            domain_id=signal.domain_id,
        )


def _is_request(call: Call) -> bool:
    """A stranger's call that our user has not taken."""
    return call.facts.silent and call.state is State.RINGING


def _superseded(call: Call, reason: EndReason) -> e.Superseded:
    return e.Superseded(call_id=call.facts.call_id, reason=reason)
