"""What conferences want done, beside the effects that they share with calls (``sidecar.calls.effects``)."""

from __future__ import annotations

from sidecar.calls.effects import Effect
from sidecar.signaling.messages import MemberInfo

from .plan import SendPlan


class PutLease(Effect, frozen=True):
    """Write our presence into our space of this session, encrypted with ``key``; ``info.at`` is set by
    whoever writes it. The last one says ``left``, and the space is not needed any more. ``others``: who else
    is in, for those who look on."""

    info: MemberInfo
    key: str
    others: tuple[MemberInfo, ...] = ()


class WatchLease(Effect, frozen=True):
    """Follow the presence of a member; a newer ``lease`` of the same user takes the place of the older."""

    user_id: str
    lease: str
    key: str


class UnwatchLease(Effect, frozen=True):
    user_id: str


class SendGossip(Effect, frozen=True):
    """Over the control channel of a connected member. ``invited``: whom our user has asked in."""

    user_id: str
    ages_ms: dict[str, int]
    members: list[MemberInfo]
    invited: list[str]


class SetSendPlan(Effect, frozen=True):
    """What one member is sent of our camera."""

    user_id: str
    plan: SendPlan
