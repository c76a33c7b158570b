"""What a contact whose client means ill may say: signed and sealed as it should be, and senseless."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from sidecar.conference.accounts import signed, signer
from sidecar.conference.ids import proof
from sidecar.conference.machine import Conference
from sidecar.signaling import messages as s
from sidecar.trust.identity import Identity
from tests.homes import Home
from tests.signaling_kit import ALICE, BOB
from tests.town import CAROL
from tests.unit.media_sdp_samples import offer

SDPS = ("v=0", offer(), "")
WORDS = ("00" * 16, "5e" * 16, "ff" * 16)
REASONS = ("busy", "declined", "glare", "answered-elsewhere", "replaced", "local-hangup", "?")
SIGNERS = {BOB.pub: BOB, CAROL.pub: CAROL}
"""He has a confederate, and nobody else's key."""


class Liar:
    """Makes bodies of every kind about a call: half of what they say is true. ``us``: who hears them."""

    def __init__(self, dice: Random, us: Home, me: Home) -> None:
        self._dice = dice
        self._us = us
        self._me = me

    def about(self, kind: s.Kind, call_id: str) -> s.AnyBody:
        body = s.BODIES[kind]
        conference = self._us.calling.hall.get(call_id)
        made: dict[type[Any], Callable[[], s.AnyBody]] = {
            s.InviteBody: self._invitation,
            s.AcceptBody: lambda: s.AcceptBody(
                sdp=self._of(SDPS), sdp_type=self._of(("answer", "offer", "?")), offer_digest="ab" * 32
            ),
            s.AnswerBody: lambda: s.AnswerBody(sdp=self._of(SDPS), offer_digest="ab" * 32),
            s.OfferBody: lambda: s.OfferBody(sdp=self._of(SDPS)),
            s.ReasonBody: lambda: s.ReasonBody(
                reason=self._of(REASONS), device=self._of(("", self._us.signaling.device))
            ),
            s.EmptyBody: s.EmptyBody,
            s.TargetBody: lambda: s.TargetBody(self._of((self._us.user_id, self._me.user_id, "?"))),
            s.JoinBody: lambda: self._join(call_id, conference),
            s.AnnounceBody: lambda: self._announcement(call_id, conference),
        }
        return made[body]()

    def session_of(self, call_id: str) -> str | None:
        """Where the others read, if there is such a call."""
        conference = self._us.calling.hall.get(call_id)
        call = self._us.calling.calls.board.board._calls.get(call_id)
        known = conference or call
        return known.facts.session if known is not None and self._chance(0.6) else None

    def _of(self, choices: tuple[Any, ...]) -> Any:
        return self._dice.choice(choices)

    def _chance(self, share: float) -> bool:
        return self._dice.random() < share

    def _invitation(self) -> s.InviteBody:
        call_type, session = self._of(("audio", "video", "?")), self._of(WORDS)
        return s.InviteBody(call_type=call_type, session=session, display_name="B", sdp=self._of(SDPS))

    def _account(self, call_id: str, who: Identity, device: str) -> s.MemberInfo:
        now_ms = self._us.clock.network_ms()
        info = s.MemberInfo(
            pub=who.pub,
            device=device,
            lease=self._of(("", "a.b")),
            joined_at=self._of((0, now_ms, 2**52)),
            at=now_ms + self._of((-100_000, 0, 30_000)),
            left=self._chance(0.2),
        )
        owner = SIGNERS.get(who.pub)
        return signed(info, call_id, signer(owner)) if owner is not None and self._chance(0.7) else info

    def _somebody(self, call_id: str) -> s.MemberInfo:
        devices = ("d", self._me.signaling.device, self._us.signaling.device)
        return self._account(call_id, self._of((ALICE, BOB, CAROL)), self._of(devices))

    def _join(self, call_id: str, conference: Conference | None) -> s.JoinBody:
        device = self._me.signaling.device
        known = conference is not None and self._chance(0.8)
        key = conference.facts.key if conference is not None and known else "ab" * 32
        info = self._account(call_id, BOB, device) if self._chance(0.7) else self._somebody(call_id)
        told = proof(key, call_id, BOB.pub, device)
        return s.JoinBody(info=info, proof=told, display_name="B", sdp=self._of((None, *SDPS)))

    def _announcement(self, call_id: str, conference: Conference | None) -> s.AnnounceBody:
        true = conference.facts if conference is not None and self._chance(0.7) else None
        return s.AnnounceBody(
            call_type="audio",
            session=true.session if true else self._of(WORDS),
            key=true.key if true else "ab" * 32,
            nonce=true.nonce if true else self._of(WORDS),
            founder=true.founder if true and self._chance(0.7) else self._of(("", BOB.pub)),
            founder_sig=true.founder_sig if true else "",
            display_name="B",
            created_at=true.created_at if true else 0,
            ring=self._chance(0.5),
            members=[self._somebody(call_id) for _ in range(self._dice.randint(0, 3))],
        )
