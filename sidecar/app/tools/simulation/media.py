"""The media of all nodes of a simulation: descriptions, connections that come up and die, D5's judgement.

Nothing is encoded. A connection is up when the answer has been applied to the offer that it answers and both
ends are still there; from then on each end hears the other, until the path breaks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sidecar.calls import effects as cf
from sidecar.calls import events as ce

from .broken import Broken, promise
from .network import Agenda, Dice

LEVELS = ((2.5, ce.Level.SUSPECT), (5.0, ce.Level.RECONNECTING), (30.0, ce.Level.LOST))
"""Seconds of silence, and what they mean."""

Tell = Callable[[str, ce.Event], None]
"""(node, event)"""


@dataclass(slots=True)
class End:
    """One end of one connection."""

    node: str
    call_id: str
    user_id: str
    gen: int
    sdp: str
    far: End | None = None
    up: bool = False
    open: bool = True
    silent: bool = False
    level: ce.Level = ce.Level.ALIVE

    def carries(self) -> bool:
        """Whether what this end sends arrives."""
        return self.up and self.open and not self.silent and self.far is not None and self.far.open


@dataclass
class Media:
    """``tell(node, event)`` reports to a node."""

    agenda: Agenda
    dice: Dice
    tell: Tell
    ends: dict[tuple[str, str, str, int], End] = field(default_factory=dict)
    """By node, call, user and generation."""
    by_sdp: dict[str, End] = field(default_factory=dict)
    captured: set[tuple[str, str]] = field(default_factory=set)
    """(node, call) with open sources."""
    dead: set[str] = field(default_factory=set)
    """Nodes that no direct path reaches."""
    serial: int = 0

    def open_peer(self, node: str, effect: cf.OpenPeer) -> None:
        key = (node, effect.call_id, effect.user_id, effect.gen)
        promise((node, effect.call_id) in self.captured, "a connection without sources")
        promise(key not in self.ends, f"opened twice: {key}")
        self.serial += 1
        kind = "offer" if effect.remote_sdp is None else "answer"
        end = End(node, effect.call_id, effect.user_id, effect.gen, f"{kind} {self.serial} of {node}")
        if effect.remote_sdp is not None:
            end.far = self.by_sdp.get(effect.remote_sdp)
        self.ends[key] = self.by_sdp[end.sdp] = end
        self.agenda.at(self.agenda.now + 0.02, lambda: self._describe(end, kind))

    def _describe(self, end: End, kind: str) -> None:
        self._report(
            end,
            ce.LocalDescription(
                call_id=end.call_id, user_id=end.user_id, gen=end.gen, type=kind, sdp=end.sdp
            ),
        )

    def apply_answer(self, node: str, effect: cf.ApplyAnswer) -> None:
        end = self.ends.get((node, effect.call_id, effect.user_id, effect.gen))
        far = self.by_sdp.get(effect.sdp)
        if end is None:
            raise Broken("an answer for a connection that is not there")
        promise(end.far is None, "an answer was applied twice")
        if far is None or far.far is not end or not self.dice.connects():
            return
        end.far = far
        for one, delay in ((end, self.dice.path_delay()), (far, self.dice.path_delay())):
            self.agenda.at(self.agenda.now + 2 * delay, partial(self._come_up, one))

    def _come_up(self, end: End) -> None:
        if not end.open or end.far is None or not end.far.open or end.up:
            return
        if self.dead & {end.node, end.far.node}:
            return
        end.up = True
        self._report(end, ce.PeerConnected(call_id=end.call_id, user_id=end.user_id, gen=end.gen))
        if end.far.up:
            self._plan_break(end)

    def _plan_break(self, end: End) -> None:
        after = self.dice.next_break()
        if after is not None:
            self.agenda.at(self.agenda.now + after, lambda: self._break(end))

    def _break(self, end: End) -> None:
        if self.dice.preset.breaks_per_minute:
            self.silence(end, self.dice.break_length())

    def cut(self, node: str, length: float) -> None:
        """Nothing direct reaches or leaves a node for a while, and no connection of it comes up."""
        self.dead.add(node)
        for end in [end for end in self.ends.values() if end.node == node]:
            self.silence(end, length)
        self.agenda.at(self.agenda.now + length, lambda: self.dead.discard(node))

    def silence(self, end: End, length: float) -> None:
        """Nothing passes between the two for a while."""
        if not end.open or end.far is None or not end.far.open or end.silent:
            return
        for one in (end, end.far):
            self._fall_silent(one, length)
            self.agenda.at(self.agenda.now + length, partial(self._heal, one))

    def _judge(self, end: End, level: ce.Level) -> None:
        if end.open and end.silent and end.level is not level:
            end.level = level
            self._report(
                end, ce.PeerLiveness(call_id=end.call_id, user_id=end.user_id, gen=end.gen, level=level)
            )

    def _heal(self, end: End) -> None:
        if end.far is None or not end.far.open:
            return
        end.silent = False
        if end.open and end.level is not ce.Level.ALIVE:
            self._judge_alive(end)

    def _judge_alive(self, end: End) -> None:
        end.level = ce.Level.ALIVE
        alive = ce.PeerLiveness(call_id=end.call_id, user_id=end.user_id, gen=end.gen, level=ce.Level.ALIVE)
        self._report(end, alive)

    def _report(self, end: End, event: ce.Event) -> None:
        if end.open:
            self.tell(end.node, event)

    def close_peer(self, node: str, effect: cf.ClosePeer) -> None:
        self._close((node, effect.call_id, effect.user_id, effect.gen))

    def close_call(self, node: str, call_id: str) -> None:
        """Closes every connection and source of a call."""
        promise((node, call_id) in self.captured, "closed what was never opened")
        self.captured.discard((node, call_id))
        for key in [key for key in self.ends if key[:2] == (node, call_id)]:
            self._close(key)

    def _close(self, key: tuple[str, str, str, int]) -> None:
        """The other end of an open path hears the DTLS close."""
        end = self.ends.pop(key, None)
        if end is None:
            return
        end.open = False
        far = end.far
        if far is None or not far.open or not far.up:
            return
        if end.up and not end.silent:
            failed = ce.PeerFailed(
                call_id=far.call_id, user_id=far.user_id, gen=far.gen, reason="connection-lost"
            )
            self.agenda.at(self.agenda.now + self.dice.path_delay(), lambda: self._report(far, failed))
        else:
            self._fall_silent(far)

    def kill(self, node: str) -> None:
        """The process of a node is gone without a word."""
        self.lose(node)
        self.captured = {item for item in self.captured if item[0] != node}

    def lose(self, node: str) -> None:
        """Every connection of a node is gone without a word."""
        for key in [key for key in self.ends if key[0] == node]:
            end = self.ends.pop(key)
            end.open = False
            far = end.far
            if far is not None and far.open and far.up:
                self._fall_silent(far)

    def _fall_silent(self, end: End, length: float = math.inf) -> None:
        end.silent = True
        for after, level in LEVELS:
            if after < length:
                self.agenda.at(self.agenda.now + after, partial(self._judge, end, level))

    def far_end(self, node: str, call_id: str, user_id: str) -> str | None:
        """The node that a control message to that user reaches now, if one does."""
        for end in self.ends.values():
            if (end.node, end.call_id, end.user_id) == (node, call_id, user_id) and end.carries():
                return end.far.node if end.far else None
        return None
