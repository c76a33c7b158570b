"""How many people talk to each other, and what each of them is sent: pure functions of counts and sizes.

1:1 is direct, up to four are a full mesh, up to eight a mesh of reduced quality (DESIGN section 1). A plan
changes at most every ten seconds, so that somebody who comes and goes at the border does not make every
encoder of the conference start anew (K05).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

HOLD_S = 10.0
LAYERS = (180, 360, 480, 720, 1080)
"""Heights of the layers that an encoder makes (D6)."""


class Topology(Enum):
    """Who is connected to whom, and how well."""

    DIRECT = "direct"
    MESH = "mesh"
    REDUCED_MESH = "reduced-mesh"


def topology(count: int) -> Topology:
    """For so many members, ourselves included."""
    if count <= 2:
        return Topology.DIRECT
    return Topology.MESH if count <= 4 else Topology.REDUCED_MESH


class Planner:
    """Follows the number of members, with hysteresis: growth beyond a border counts at once, because the
    quality must go down before the network does; shrinking only once it has lasted."""

    def __init__(self) -> None:
        self.current = Topology.DIRECT
        self._changed: float | None = None
        self._wanted: Topology | None = None
        self._since = 0.0

    def follow(self, count: int, now: float) -> bool:
        """Tells how many there are; whether the plan changed."""
        wanted = topology(count)
        if wanted is self.current:
            self._wanted = None
            return False
        if wanted is not self._wanted:
            self._wanted, self._since = wanted, now
        if now < self._due():
            return False
        self.current, self._wanted, self._changed = wanted, None, now
        return True

    def next_deadline(self) -> float | None:
        """When a change that is wanted may be made."""
        return None if self._wanted is None else self._due()

    def _due(self) -> float:
        settled = 0.0 if self._changed is None else self._changed + HOLD_S
        grows = self._wanted is not None and _SIZE[self._wanted] > _SIZE[self.current]
        return settled if grows else max(settled, self._since + HOLD_S)


_SIZE = {Topology.DIRECT: 0, Topology.MESH: 1, Topology.REDUCED_MESH: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPlan:
    """What one member is sent of our camera: at most this many lines, frames a second, bits a second."""

    height: int
    fps: int
    bitrate: int


_BEST = {
    Topology.DIRECT: SendPlan(height=720, fps=30, bitrate=1_500_000),
    Topology.MESH: SendPlan(height=480, fps=24, bitrate=700_000),
    Topology.REDUCED_MESH: SendPlan(height=360, fps=15, bitrate=300_000),
}
_SPEAKER = {
    Topology.DIRECT: _BEST[Topology.DIRECT],
    Topology.MESH: SendPlan(height=720, fps=30, bitrate=1_000_000),
    Topology.REDUCED_MESH: SendPlan(height=480, fps=24, bitrate=500_000),
}
_THUMBNAIL = SendPlan(height=180, fps=10, bitrate=120_000)


def send_plan(shape: Topology, *, visible_height: int | None = None, speaking: bool = False) -> SendPlan:
    """For one receiver. ``visible_height``: how large it shows us, None if it has not said; ``speaking``: we
    are the one who speaks."""
    best = _SPEAKER[shape] if speaking else _BEST[shape]
    if visible_height is None:
        return best
    if visible_height <= _THUMBNAIL.height:
        return _THUMBNAIL
    height = next((layer for layer in LAYERS if layer >= visible_height), LAYERS[-1])
    if height >= best.height:
        return best
    return SendPlan(
        height=height, fps=best.fps, bitrate=max(_THUMBNAIL.bitrate, best.bitrate * height // best.height)
    )
