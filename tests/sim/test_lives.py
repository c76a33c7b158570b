"""Thousands of simulated lives: real machines, users with whims, networks and faults drawn from a seed.

The promises are in ``sidecar.app.tools.simulation`` (``promises`` and ``settling``). A failure says how to
see its life again: the command ``aleph-sidecar simulate`` with the same options tells the story.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from sidecar.app.exit_codes import BUG
from sidecar.app.tools.simulation.broken import Broken
from sidecar.app.tools.simulation.faults import FAULTS
from sidecar.app.tools.simulation.network import PRESETS
from sidecar.app.tools.simulation.shared import Shared
from sidecar.app.tools.simulation.simulate import MAX_PEERS, Options, Outcome, simulate
from sidecar.cli import arguments
from sidecar.errors import LocalError
from tests.peers import ROOT
from tests.sim.lives import live

SEEDS, SEEDS_LONG = 5_000, 100_000
SHOWN = 5
"""Broken lives that a failure tells in full."""


def outcomes(seeds: range) -> Iterator[Outcome]:
    workers = os.cpu_count() or 1
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(live, seeds, chunksize=25)


@pytest.fixture(scope="module")
def met(long_run: bool) -> tuple[Counter[str], list[Outcome]]:
    """What was met in all lives, and the broken ones."""
    counts: Counter[str] = Counter()
    broken = []
    for outcome in outcomes(range(SEEDS_LONG if long_run else SEEDS)):
        counts.update(outcome.counts)
        if outcome.broken is not None:
            broken.append(outcome)
    return counts, broken


def told(outcome: Outcome) -> str:
    return "\n".join([*outcome.story[-25:], f"BROKEN at {outcome.broken}", outcome.options.command()])


@pytest.mark.timeout(3600)
def test_no_life_breaks_a_promise(met: tuple[Counter[str], list[Outcome]]):
    _, broken = met
    commands = "\n".join(f"{outcome.options.command()}   # {outcome.broken}" for outcome in broken)
    stories = "\n\n".join(map(told, broken[:SHOWN]))
    assert not broken, f"{len(broken)} lives broke a promise\n{stories}\n\nall of them:\n{commands}"


ONCE_BROKEN = {
    "the old device of a user is cut off and not told that another has taken its place": 647,
    "two devices meet in a conference of their user by a merger": 1131,
    "a member and a newcomer know nothing of each other for longer than a minute": 2273,
    "a call is made a conference before its other end is connected": 2371,
    "somebody who was sent out of a conference opens another one": 2078,
    "the device that said why a call ended has crashed": 4988,
    "a device that declines a stranger has never read its session": 1895,
    "nobody is a friend of anybody in the room": 819,
    "a graph that takes longer than a connection may": 19,
    "two halves that say nothing to each other for half a minute": 3086,
    "two conferences of a room that change places": 49487,
    "one device is busy, and nobody takes the call at another one": 52025,
    "who was asked in knows only of the one who has left": 98161,
}


WILD = {
    "a conference that was not heard of for two minutes": Options(
        seed=1141, peers=10, net="perfect", seconds=150.0,
        faults=("loss", "restart", "suspend", "medialost", "stranger-flood"),
    ),
    "a moderator comes back and meets whom it has sent out": Options(
        seed=10405, peers=8, net="cellular", seconds=180.0, faults=("replay",), sealed=False
    ),
    "who was asked in comes when who asked him has left": Options(
        seed=26461, peers=4, net="wifi", seconds=60.0, sealed=False
    ),
    "who has lost everybody is told as in by all": Options(
        seed=30352, peers=9, net="perfect", seconds=180.0, faults=("deadpath", "loss"), sealed=False
    ),
    "one who joins again shows those of before": Options(
        seed=11036, peers=10, net="wifi_lossy", seconds=240.0,
        faults=("crash", "skew", "restart"), sealed=False,
    ),
    "who comes up takes the place of who comes up": Options(
        seed=20182, peers=9, net="congested", seconds=180.0, sealed=False
    ),
}  # fmt: skip


@pytest.mark.parametrize("options", WILD.values(), ids=WILD)
def test_wilder_lives_that_once_broke_a_promise_hold(options: Options):
    outcome = simulate(options)
    assert outcome.broken is None, told(outcome)


@pytest.mark.parametrize("seed", ONCE_BROKEN.values(), ids=ONCE_BROKEN)
def test_lives_that_once_broke_a_promise_hold(seed: int):
    outcome = live(seed)
    assert outcome.broken is None, told(outcome)


@pytest.mark.timeout(3600)  # run alone it waits for all lives
@pytest.mark.parametrize(
    "what",
    [
        *(f"ended {reason}" for reason in (
            "local-hangup", "remote-hangup", "declined", "busy", "cancelled", "no-answer", "glare",
            "replaced", "answered-elsewhere", "declined-elsewhere", "connect-failed", "connection-lost",
            "media-failed", "policy-denied",
        )),
        *(f"signal {kind}" for kind in (
            "invite", "receipt", "ringing", "accept", "answer", "reject", "busy", "cancel", "end", "offer",
            "restart", "announce", "grow", "join", "remove", "hush",
        )),
        "held back", "gossip", "leases", "refused conference.full", "dropped blocked", "dropped replay",
        "dropped expired",
    ],
)  # fmt: skip
def test_the_lives_are_wild_enough_to_meet(met: tuple[Counter[str], list[Outcome]], what: str):
    counts, _ = met
    assert counts[what] > 0


def run(*arguments: str, hash_seed: str = "random") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sidecar", "simulate", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("door", ["", "--plain"], ids=["sealed", "plain"])
@pytest.mark.parametrize("net", PRESETS)
def test_the_same_seed_gives_the_same_output_in_every_process(net: str, door: str):
    life = f"--peers 4 --net {net} --seconds 60 --faults restart,skew --json {door}".split()
    one, two = run("--seed", "11", *life, hash_seed="1"), run("--seed", "11", *life, hash_seed="2")
    assert one.returncode == 0, one.stdout
    assert one.stdout == two.stdout
    other = simulate(
        Options(seed=12, peers=4, net=net, seconds=60, faults=("restart", "skew"), sealed=not door)
    )
    assert other.digest != json.loads(one.stdout)["digest"]


def broken_by(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def at_rest(shared: Shared) -> None:
        raise error

    monkeypatch.setattr("sidecar.app.tools.simulation.settling.at_rest", at_rest)


@pytest.mark.parametrize("error", [Broken("two live calls"), KeyError("call")], ids=["promise", "machine"])
def test_a_broken_promise_is_told_with_its_story_and_an_exit_code(monkeypatch, capsys, error: Exception):
    """A machine that raises where nobody waits for its answer has broken one too."""
    broken_by(monkeypatch, error)
    assert arguments.run(["simulate", "--seed", "3", "--peers", "2", "--seconds", "30", "--plain"]) == BUG
    said = capsys.readouterr().out
    assert f"BROKEN at 140.000 s: {'' if isinstance(error, Broken) else 'KeyError: '}{error}" in said
    assert "aleph-sidecar simulate --seed 3 --peers 2 --net wifi --seconds 30 --plain" in said
    assert "Initiate" in said


def test_people_get_a_report_and_the_command_to_see_it_again():
    done = run("--seed", "3", "--peers", "2", "--seconds", "30", "--plain")
    assert done.returncode == 0
    assert "aleph-sidecar simulate --seed 3 --peers 2 --net wifi --seconds 30 --plain" in done.stdout
    assert done.stdout.endswith("every promise held\n")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--peers", "1"), "peers"),
        (("--net", "tin-cans"), "net"),
        (("--seconds", "0"), "seconds"),
        (("--faults", "loss,gremlins"), "gremlins"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(arguments: tuple[str, ...], names: str):
    done = run("--seed", "1", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert names in done.stderr


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_changes_the_story(fault: str):
    changed = 0
    for seed in (5, 6, 7):  # now and then there is nothing to hurt
        calm = simulate(Options(seed=seed, peers=4, seconds=120, sealed=False))
        hurt = simulate(Options(seed=seed, peers=4, seconds=120, sealed=False, faults=(fault,)))
        changed += calm.digest != hurt.digest
        assert hurt.broken is None, told(hurt)
    assert changed


def test_the_sealed_door_lets_calls_and_conferences_through():
    counts: Counter[str] = Counter()
    for seed in range(20, 30):
        counts.update(simulate(Options(seed=seed, peers=3, net="perfect")).counts)
    assert all(counts[f"signal {kind}"] for kind in ("accept", "end", "announce", "join", "answer"))
    assert counts["ended remote-hangup"] > 0


def test_the_options_of_a_life_are_bounded():
    with pytest.raises(LocalError):
        Options(seed=1, peers=MAX_PEERS + 1)
