"""An opinion score from what the network does: the E-model's short form (ITU-T G.107) for Opus."""

from __future__ import annotations

_BEST_R = 93.2
_OPUS_ROBUSTNESS = 20.0
"""Bpl of a wide-band codec without concealment of its own (G.113 appendix: 10 to 30)."""
_BUFFER_MS = 40.0
"""Delay added by capture, the packet and the hold of the audio buffer."""


def opinion_score(rtt_ms: float, jitter_ms: float, loss: float) -> float:
    """1 (bad) to 4.4 (best) from round trip, jitter and the share of packets lost."""
    delay = rtt_ms / 2 + 2 * jitter_ms + _BUFFER_MS
    impairment = 0.024 * delay + max(0.0, 0.11 * (delay - 177.3))
    impairment += 95.0 * 100 * loss / (100 * loss + _OPUS_ROBUSTNESS)
    r = max(0.0, min(100.0, _BEST_R - impairment))
    score = 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6
    return round(max(1.0, min(5.0, score)), 2)
