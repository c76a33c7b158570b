"""The outcome of a simulation for people."""

from __future__ import annotations

from .simulate import Outcome

_GROUPS = (("ended ", "calls ended, per device"), ("signal ", "signals sent"), ("dropped ", "not taken"))
"""Prefixes of counts, and what they are."""


def text(outcome: Outcome) -> str:
    """Several lines, the verdict last."""
    counts = outcome.counts
    lines = [outcome.options.command(), ""]
    lines.append(f"{len(outcome.devices)} devices of {len(set(outcome.devices.values()))} users")
    for prefix, title in _GROUPS:
        found = {name.removeprefix(prefix): n for name, n in counts.items() if name.startswith(prefix)}
        if found:
            lines.append(f"{title}: " + ", ".join(f"{name} {n}" for name, n in found.items()))
    prefixes = tuple(prefix for prefix, _ in _GROUPS)
    others = ", ".join(f"{name} {n}" for name, n in counts.items() if not name.startswith(prefixes))
    lines += [f"besides: {others}", f"story: {outcome.digest}"]
    if outcome.broken is None:
        return "\n".join([*lines, "", "every promise held"])
    return "\n".join([*lines, "", *outcome.story, "", f"BROKEN at {outcome.broken}"])
