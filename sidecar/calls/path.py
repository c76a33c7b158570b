"""The connection to one peer through all its generations (DESIGN D4, D5): make before break, no ICE restart.

A connection is never repaired. When it is no good any more, the end that offers builds the next *generation*
beside it, and the old one is closed once the new one carries media. The other end can only ask for that
(``restart``). A peer that stays silent is given up after ``lost_s``.

One path serves a 1:1 call and a pair of conference members alike. It says what it needs sent with ``Say``;
whoever owns it knows where to.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from sidecar.signaling.messages import AnswerBody, AnyBody, EmptyBody, Kind, OfferBody, Signal

from . import effects as f
from . import events as e
from .facts import digest
from .path_rules import PathRules


class News(Enum):
    """What the owner of a path has to know."""

    UP = "up"
    """Media flows: for the first time, or again."""
    DOWN = "down"
    """Nothing arrives any more; a new generation is being tried."""
    LOST = "lost"
    """Given up."""


@dataclass(frozen=True, slots=True)
class Say:
    """A signal to the peer about generation ``gen``."""

    kind: Kind
    body: AnyBody
    gen: int


Step = f.Effect | Say


class Path:
    """``handle``, ``heard`` and ``handle_timer`` return what is to be done; ``take_news`` what it means."""

    def __init__(
        self, call_id: str, user_id: str, *, offerer: bool, rules: PathRules, current: int | None = None
    ) -> None:
        """``current``: the generation that is up already, if one is."""
        self.call_id = call_id
        self.user_id = user_id
        self.offerer = offerer
        self.current = current
        """The generation that carries media, None before the first and after it closed."""
        self.building: int | None = None
        """The generation that is coming up."""
        self._rules = rules
        self._last = -1 if current is None else current
        self._offer: str | None = None
        self._down = False
        self._wanted = False
        self._news: News | None = None
        self._silent_since: float | None = None
        self._build_until: float | None = None
        self._grace_until: float | None = None
        self._renewed: deque[float] = deque(maxlen=rules.renews_per_minute)
        self._taken: deque[float] = deque(maxlen=2 * rules.renews_per_minute)

    # --- looking ---------------------------------------------------------------------------------------

    @property
    def down(self) -> bool:
        """Whether the owner was told DOWN and not yet UP."""
        return self._down

    def silent_since(self, now: float) -> float:
        """When the first sign of silence was, or now."""
        return now if self._silent_since is None else self._silent_since

    @property
    def gen(self) -> int:
        """The newest generation there is."""
        return max(self._last, 0)

    def knows(self, gen: int) -> bool:
        """Whether a generation is one of the at most two that live."""
        return gen in (self.current, self.building)

    def take_news(self) -> News | None:
        """What has changed since the last call."""
        news, self._news = self._news, None
        return news

    def next_deadline(self) -> float | None:
        due = [self._build_until, self._grace_until]
        if self._silent_since is not None:
            due.append(self._silent_since + self._rules.lost_s)
        if self._wanted and self.building is None:
            due.append(self._renew_at())
        return min((at for at in due if at is not None), default=None)

    # --- what happens ------------------------------------------------------------------------------------

    def begin(self, now: float) -> list[Step]:
        """Builds the first generation, or waits for the offer of it."""
        self._silent_since = now
        return self._renew(now) if self.offerer else []

    def handle(self, event: e.PeerEvent, now: float) -> list[Step]:
        """Takes a report of the media about a generation of this path; others are stale and ignored."""
        if not self.knows(event.gen):
            return []
        match event:
            case e.LocalDescription():
                return self._described(event) if event.gen == self.building else []
            case e.PeerConnected():
                return self._connected() if event.gen == self.building else []
            case e.PeerFailed():
                return self._failed(event.gen, now)
            case e.PeerLiveness() if event.gen == self.current:
                return self._judged(event.level, now)
            case _:
                return []

    def heard(self, signal: Signal, now: float) -> list[Step]:
        """Takes an offer, an answer or a restart of the peer; what fits no generation is ignored (S12)."""
        match signal.body:
            case OfferBody() if not self.offerer and signal.gen > self._last:
                return self._offered(signal.gen, signal.body.sdp, now)
            case AnswerBody() if self.offerer and signal.gen == self.building:
                return self._answered(signal.body)
            case EmptyBody() if self.offerer and signal.kind is Kind.RESTART and signal.gen >= self._newest():
                return self._renew(now)
            case _:
                return []

    def renew(self, now: float) -> list[Step]:
        """The network of this machine changed: a new generation at once, while the old one may still live."""
        return self._renew(now)

    def yield_to(self, signal: Signal, now: float) -> list[Step]:
        """Two first offers crossed and the peer's stands: takes it instead of our own."""
        self.offerer = False
        closing = self._drop_building()
        self._last = min(self._last, signal.gen - 1)
        return [*closing, *self.heard(signal, now)]

    def handle_timer(self, now: float) -> list[Step]:
        """Does what has become due."""
        if self._silent_since is not None and self._silent_since + self._rules.lost_s <= now:
            self._news = News.LOST
            self._silent_since = None
            return self.close()
        out: list[Step] = []
        if self._grace_until is not None and self._grace_until <= now:
            self._grace_until = None
            self._tell_down()
            out += self._renew(now)
        if self._build_until is not None and self._build_until <= now:
            out += self._drop_building()
            out += self._renew(now) if self._silent_since is not None else []
        if self._wanted and self.building is None and self._renew_at() <= now:
            out += self._renew(now)
        return out

    def close(self) -> list[Step]:
        """Closes every generation; nothing is due any more."""
        out = self._drop_building()
        if self.current is not None:
            out.append(self._close(self.current))
            self.current = None
        self._wanted, self._silent_since, self._grace_until = False, None, None
        return out

    # --- generations -------------------------------------------------------------------------------------

    def _newest(self) -> int:
        return self._last if self.building is None else self.building

    def _renew_at(self) -> float:
        """When the next generation may be begun: 5 s after the last, and at most five a minute."""
        if not self._renewed:
            return 0.0
        soonest = self._renewed[-1] + self._rules.renew_every_s
        if len(self._renewed) == self._renewed.maxlen:
            soonest = max(soonest, self._renewed[0] + 60.0)
        return soonest

    def _renew(self, now: float) -> list[Step]:
        """Builds the next generation, or asks for it; later, if the last attempt is too young."""
        if self.building is not None:
            return []
        if self._renew_at() > now:
            self._wanted = True
            return []
        self._renewed.append(now)
        if not self.offerer:
            self._wanted = self._silent_since is not None  # asked again while nothing comes
            return [Say(Kind.RESTART, EmptyBody(), self.gen)]
        self._wanted = False
        return [self._build(self._last + 1, None, now)]

    def _build(self, gen: int, remote_sdp: str | None, now: float) -> Step:
        self.building = self._last = gen
        self._offer = remote_sdp
        self._build_until = now + self._rules.build_s
        return f.OpenPeer(call_id=self.call_id, user_id=self.user_id, gen=gen, remote_sdp=remote_sdp)

    def _drop_building(self) -> list[Step]:
        gen, self.building = self.building, None
        self._offer, self._build_until = None, None
        return [] if gen is None else [self._close(gen)]

    def _close(self, gen: int) -> Step:
        return f.ClosePeer(call_id=self.call_id, user_id=self.user_id, gen=gen)

    # --- media reports -----------------------------------------------------------------------------------

    def _described(self, event: e.LocalDescription) -> list[Step]:
        theirs = self._offer
        if self.offerer:
            if event.type != "offer" or theirs is not None:
                return []
            self._offer = event.sdp
            return [Say(Kind.OFFER, OfferBody(sdp=event.sdp), event.gen)]
        if event.type != "answer" or theirs is None:
            return []
        self._offer = None
        return [Say(Kind.ANSWER, AnswerBody(sdp=event.sdp, offer_digest=digest(theirs)), event.gen)]

    def _connected(self) -> list[Step]:
        old, self.current, self.building = self.current, self.building, None
        self._offer, self._build_until, self._grace_until = None, None, None
        self._wanted, self._silent_since = False, None
        if self._down or old is None:
            self._down, self._news = False, News.UP
        return [] if old is None else [self._close(old)]

    def _failed(self, gen: int, now: float) -> list[Step]:
        if gen == self.building:
            closing = self._drop_building()
            return [*closing, *(self._renew(now) if self._silent_since is not None else [])]
        self.current = None
        self._fell_silent(now)
        if not self._down:
            self._grace_until = now + self._rules.grace_s
        return [self._close(gen)]

    def _judged(self, level: e.Level, now: float) -> list[Step]:
        match level:
            case e.Level.ALIVE:
                self._silent_since, self._wanted = None, False
                if self._down:
                    self._down, self._news = False, News.UP
                return []
            case e.Level.SUSPECT:
                self._fell_silent(now)
                return self._renew(now)
            case e.Level.RECONNECTING:
                self._fell_silent(now)
                self._tell_down()
                return self._renew(now)
            case e.Level.LOST:
                self._news = News.LOST
                return self.close()

    def _fell_silent(self, now: float) -> None:
        if self._silent_since is None:
            self._silent_since = now

    def _tell_down(self) -> None:
        if not self._down:
            self._down, self._news = True, News.DOWN

    # --- signals of the peer -----------------------------------------------------------------------------

    def _offered(self, gen: int, sdp: str, now: float) -> list[Step]:
        if len(self._taken) == self._taken.maxlen and self._taken[0] > now - 60.0:
            return []  # no peer that means well makes so many
        self._taken.append(now)
        return [*self._drop_building(), self._build(gen, sdp, now)]

    def _answered(self, body: AnswerBody) -> list[Step]:
        if self._offer is None or body.offer_digest != digest(self._offer):
            return []
        self._offer = None  # nothing is applied twice
        assert self.building is not None
        return [f.ApplyAnswer(call_id=self.call_id, user_id=self.user_id, gen=self.building, sdp=body.sdp)]
