"""What every bench shares: rows, the machine, interleaved medians, the two ways of printing.

A row compares one number of ours with a peer's of the same run. ``Aim`` says what was hoped for: of the ratio
ours / peer, or of our number alone; not reaching it is reported, never an error.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Numbers = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Options:
    """How a bench was asked for."""

    long: bool = False


@dataclass(frozen=True, slots=True)
class Aim:
    """``most`` or ``least``, of the ratio or of our number."""

    most: float | None = None
    least: float | None = None
    of_ratio: bool = True

    def text(self) -> str:
        sign, bound = ("<=", self.most) if self.most is not None else (">=", self.least)
        return f"{sign} {bound:g}" + ("x" if self.of_ratio else "")

    def met(self, ours: float, ratio: float | None) -> bool | None:
        value = ratio if self.of_ratio else ours
        if value is None:
            return None
        return value <= self.most if self.most is not None else value >= (self.least or 0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a report; ``peer`` names program and version, None where nothing is compared."""

    what: str
    unit: str
    ours: float
    peer: str | None
    peer_value: float | None
    ratio: float | None
    aim: str | None
    meets: bool | None


def row(
    what: str,
    unit: str,
    ours: float,
    *,
    peer: str | None = None,
    peer_value: float | None = None,
    aim: Aim | None = None,
) -> Row:
    """A row with its ratio and verdict filled in; numbers are rounded to four significant digits."""
    ratio = ours / peer_value if peer_value else None
    return Row(
        what,
        unit,
        _rounded(ours),
        peer,
        None if peer_value is None else _rounded(peer_value),
        None if ratio is None else _rounded(ratio),
        None if aim is None else aim.text(),
        None if aim is None else aim.met(ours, ratio),
    )


@dataclass(frozen=True, slots=True)
class Report:
    """What a bench found, and ``machine()``."""

    name: str
    machine: Mapping[str, Any]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def json(self) -> str:
        return json.dumps(
            {"name": self.name, "machine": dict(self.machine), "rows": [asdict(one) for one in self.rows]}
            | ({"notes": list(self.notes)} if self.notes else {})
        )

    def table(self) -> str:
        lines = [f"{self.name}: " + ", ".join(f"{key} {value}" for key, value in self.machine.items()), ""]
        lines.append(f"{'what':42} {'ours':>10} {'unit':8} {'ratio':>8} {'aim':>9}      peer")
        for one in self.rows:
            verdict = {True: "yes", False: "NO", None: ""}[one.meets]
            peer = (
                "" if one.peer is None else f"{one.peer}: {one.peer_value:g}" if one.peer_value else one.peer
            )
            ratio = "" if one.ratio is None else f"{one.ratio:.3g}x"
            lines.append(
                f"{one.what:42} {one.ours:>10g} {one.unit:8} {ratio:>8} {one.aim or '':>9} {verdict:4} {peer}"
            )
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def machine() -> dict[str, Any]:
    """What the numbers were taken on; no names of hosts or people."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "node": _node(),
        "load": round(os.getloadavg()[0], 2),
    }


def interleaved(rounds: int, sides: Mapping[str, Callable[[], Numbers]]) -> dict[str, dict[str, float]]:
    """The median of every number of every side.

    Sides take turns and their order rotates, so that a machine that grows slower or faster meanwhile treats
    them alike. A number that is None in a round is left out.
    """
    names = list(sides)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            for what, value in sides[name]().items():
                if value is not None:
                    found[name].setdefault(what, []).append(value)
    return {
        name: {what: statistics.median(values) for what, values in numbers.items()}
        for name, numbers in found.items()
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            for line in info:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _node() -> str | None:
    node = shutil.which("node")
    if node is None:
        return None
    return subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
