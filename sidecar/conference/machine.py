"""One conference as this node sees it: known, ringing, joined or over. No I/O, clock or randomness.

``handle`` and ``handle_timer`` return effects, to be performed in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sidecar.calls import effects as cf
from sidecar.calls import events as ce
from sidecar.calls.people import Person
from sidecar.errors import Code, DeniedError, LocalError
from sidecar.schema import EndReason, ParticipantState
from sidecar.signaling.messages import EmptyBody, Kind, ReasonBody, TargetBody

from . import events as e
from .audience import Audience
from .table import State, Trigger, Verdict, decide

MEDIA_COMMANDS = (ce.Mute, ce.Hold, ce.Resume, ce.UseMedia)


class Conference(Audience):
    """Made by the hall when one is created, announced, or grown from a call."""

    def next_deadline(self) -> float | None:
        due = [self._ring_until, self._stale_at, self._announce_at, self._lease_at, self._forget_at]
        if self.joined:
            due += self.tending_deadlines()
            due.append(self._grow_at)
            due.append(None if self._alone_since is None else self._alone_since + self.rules.alone_s)
        return min((at for at in due if at is not None), default=None)

    def handle(self, event: ce.Event, now: float) -> list[cf.Effect]:
        """Takes one event. Raises LocalError or DeniedError for a command that cannot be, RemoteError for
        anything else that has no place here."""
        action = _ACTIONS.get(type(event))
        if action is not None:
            return action(self, event, now)
        if isinstance(event, ce.PeerEvent):
            return self.media_said(event, now) if self.joined else []
        if isinstance(event, MEDIA_COMMANDS) and decide(self.state, Trigger.USE) is Verdict.WRONG:
            raise self.wrong("use media")
        before = self.shown
        out = self.own(event) or []
        return [*out, *([self.state_change()] if self.shown is not before else [])]

    def handle_timer(self, now: float) -> list[cf.Effect]:
        """Does what has become due."""
        out: list[cf.Effect] = []
        if self._ring_until is not None and self._ring_until <= now:
            out += self.move(Trigger.RUNG_OUT, EndReason.NO_ANSWER, now)
        if self._stale_at is not None and self._stale_at <= now:
            self._stale_at = None
            out += self.move(Trigger.STALE, EndReason.REMOTE_HANGUP, now)
        if self._forget_at is not None and self._forget_at <= now:
            self._forget_at = None
        if not self.joined:
            return out
        shown = self.shown
        out += self.tend(now)
        if self._lease_at is not None and self._lease_at <= now:
            out += self.refresh(now)
        if self._grow_at is not None and self._grow_at <= now:
            out += self.grow_on(now)
        if self._announce_at is not None and self._announce_at <= now:
            out += self.announce(now, ring=now - self.facts.created < self.rules.ring_s)
        if self._alone_since is not None and self._alone_since + self.rules.alone_s <= now:
            return out + self.move(Trigger.ALONE, EndReason.REMOTE_HANGUP, now)
        return [*out, *self.connect_all(now), *([self.state_change()] if self.shown is not shown else [])]

    def begin(self, event: e.Create, now: float) -> list[cf.Effect]:
        """The first moments of a conference that our user creates."""
        return [*self.join(event, now), *self.announce(now, ring=event.ring)]

    def _leave(self, event: ce.End, now: float) -> list[cf.Effect]:
        declined = self.state is State.RINGING
        asked = EndReason.DECLINED if declined else EndReason.LOCAL_HANGUP
        return self.move(Trigger.LEAVE, event.reason or asked, now)

    def _decline(self, _: ce.Reject, now: float) -> list[cf.Effect]:
        if decide(self.state, Trigger.DECLINE) is Verdict.WRONG:
            raise self.wrong("decline")
        askers = filter(None, dict.fromkeys((self.facts.initiator_id, self.facts.told_by)))
        declined = ReasonBody(reason=EndReason.DECLINED.value)
        told = [self.say(asker, Kind.REJECT, declined) for asker in askers]
        was_asked = self.state is State.RINGING
        return [*(told if was_asked else []), *self.move(Trigger.DECLINE, EndReason.DECLINED, now)]

    def invite(self, user_id: str, name: str, now: float) -> list[cf.Effect]:
        """Our user asks somebody in; into the conference of a room only its members come."""
        if not self.joined:
            raise self.wrong("invite")
        if user_id == self.me.user_id or user_id in self.members:
            return []
        self._place.must_admit(user_id)
        if user_id in self.removed:
            raise DeniedError("a moderator has sent this user out of the conference")
        if len(self.present(now)) >= self.limit:
            raise LocalError("the conference is full", code=Code.CONFERENCE_FULL)
        self.invited[user_id] = Person(user_id, name, ParticipantState.INVITED, frozenset())
        self._gossip_at = now  # he may come when we have left
        return [self.listen(user_id), self.announcement(user_id, ring=True)]

    def _hush(self, event: e.Hush, _: float) -> list[cf.Effect]:
        self._must_moderate()
        self._must_have(event.user_id)
        return [self.say(event.user_id, Kind.HUSH, EmptyBody())]

    def _remove(self, event: e.Remove, now: float) -> list[cf.Effect]:
        self._must_moderate()
        self._must_have(event.user_id)
        told: list[cf.Effect] = [
            self.say(user_id, Kind.REMOVE, TargetBody(event.user_id)) for user_id in self.members
        ]
        return [*told, *self.take_out(event.user_id, now)]

    def _must_moderate(self) -> None:
        if not self.joined:
            raise self.wrong("moderate")
        if not self.moderates(self.me.user_id):
            raise DeniedError("only moderators may do this")

    def _must_have(self, user_id: str) -> None:
        if user_id not in self.members:
            raise LocalError("not in this conference", details={"field": "userId"})

    def _end_all(self, event: ce.Event, now: float) -> list[cf.Effect]:
        if isinstance(event, ce.Shutdown):
            reason = EndReason.APP_GONE if event.app_gone else EndReason.SHUTDOWN
            return self.move(Trigger.SHUTDOWN, reason, now)
        if self.owner is not None:
            return []  # a front end has the media
        lost = self.recordings_lost()
        return [*lost, *self.move(Trigger.MEDIA_LOST, EndReason.MEDIA_FAILED, now)]

    def _superseded(self, event: ce.Superseded, now: float) -> list[cf.Effect]:
        return self.move(Trigger.REPLACED, event.reason, now)


_ACTIONS: Mapping[type[Any], Callable[[Conference, Any, float], list[cf.Effect]]] = {
    e.Join: Conference.join,
    e.Hush: Conference._hush,
    e.Remove: Conference._remove,
    e.LeaseSeen: Conference._lease_seen,
    e.Gossip: Conference._gossip,
    e.Shown: Conference.saw,
    ce.End: Conference._leave,
    ce.Reject: Conference._decline,
    ce.SignalArrived: Conference._heard,
    ce.Superseded: Conference._superseded,
    ce.Shutdown: Conference._end_all,
    ce.MediaLost: Conference._end_all,
}
