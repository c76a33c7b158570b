"""``gun``: the Gun relay of ``aleph-sidecar relay`` against gun.js with AXE off and on.

Each relay is a fresh process with a folder on disk; the load is the same raw WebSocket clients for all
(``gun_load``), and relays take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version

from bench import gun_scenes
from bench.gun_relays import AXE_OFF, AXE_ON, KINDS, OURS, gun_version
from bench.report import Aim, Numbers, Options, Report, Row, interleaved, machine, row

ROUNDS = {"latency": 3, "sustained": 2, "signed": 3, "crowded": 1, "load": 1}
"""Short rounds are repeated; the whole ends within 8 minutes on two cores."""


def run(options: Options) -> Report:
    found = {
        name: interleaved(rounds * 3 if options.long else rounds, _sides(getattr(gun_scenes, name)))
        for name, rounds in ROUNDS.items()
    }

    def against(peer: str, what: str, unit: str, place: tuple[str, str], aim: Aim | None = None) -> Row:
        scene, number = place
        ours, theirs = (found[scene][kind][number] for kind in (OURS, peer))
        return row(what, unit, ours, peer=f"gun.js {gun_version()}, {peer}", peer_value=theirs, aim=aim)

    off, on = partial(against, AXE_OFF), partial(against, AXE_ON)
    clients, readers = gun_scenes.CLIENTS, gun_scenes.SUBSCRIBERS
    return Report(
        "gun",
        machine(),
        [
            off("put to subscriber, median", "ms", ("latency", "p50"), Aim(most=0.8)),
            off("put to subscriber, p95", "ms", ("latency", "p95"), Aim(most=0.8)),
            on("put to subscriber, median", "ms", ("latency", "p50")),
            off("puts before p95 passes 50 ms, on disk", "1/s", ("sustained", "rate"), Aim(least=2.0)),
            on("puts before p95 passes 50 ms, on disk", "1/s", ("sustained", "rate"), Aim(least=4.0)),
            off("100,000 nodes of 3 keys: load", "s", ("load", "seconds"), Aim(most=0.2)),
            on("100,000 nodes of 3 keys: load", "s", ("load", "seconds"), Aim(most=0.2)),
            off("100,000 nodes of 3 keys: memory", "MB", ("load", "rss_mb"), Aim(most=0.25)),
            on("100,000 nodes of 3 keys: memory", "MB", ("load", "rss_mb"), Aim(most=0.25)),
            off(f"{clients} clients: connect", "s", ("crowded", "connect_s"), Aim(most=1.0)),
            off(f"{clients} clients: put to all of them", "ms", ("crowded", "all_ms"), Aim(most=1.0)),
            off(
                f"{clients} clients, {readers} readers: frames of a put",
                "frames",
                ("crowded", "few_frames"),
                Aim(most=readers, of_ratio=False),
            ),
            off("frames of a put to those who never asked", "frames", ("crowded", "bystander_frames")),
            off("signed puts checked and kept", "1/s", ("signed", "rate"), Aim(least=5.0)),
            on("signed puts checked and kept", "1/s", ("signed", "rate"), Aim(least=5.0)),
        ],
        [
            "rounds, interleaved, a fresh relay each: "
            + ", ".join(
                f"{name} {rounds * 3 if options.long else rounds}" for name, rounds in ROUNDS.items()
            ),
            f"steady puts: {gun_scenes.PAIRS} writers with a reader each, values of {gun_scenes.PUT_CHARS} "
            f"characters; ours runs on websockets {version('websockets')}",
        ],
    )


def _sides(scene: Callable[[str], Numbers]) -> dict[str, Callable[[], Numbers]]:
    return {kind: partial(scene, kind) for kind in KINDS}
