"""The verbs that take flags, and what is said to people."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sidecar import __version__
from sidecar.app import exit_codes


def run(args: Sequence[str]) -> int:
    """Parses ``args`` and runs the verb; its exit code. Bad usage exits with 2."""
    options = _parser().parse_args(args)
    if options.verb == "relay":
        from sidecar.cli import relay

        return relay.run(options)
    if options.verb == "explain":
        from sidecar.cli import explain

        return explain.run(options)
    if options.verb == "simulate":
        from sidecar.cli import simulate

        return simulate.run(options)
    from sidecar.cli import ipc

    return ipc.run() if options.verb == "ipc" else exit_codes.USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aleph-sidecar", description="Real-time calls for an AlephNet node."
    )
    parser.add_argument("--version", action="version", version=f"aleph-sidecar {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser(
        "ipc",
        help="serve one front end",
        description="Serves the front end that started it: one JSON line on stdin says how, one on stdout "
        "says where, logs are JSON lines on stderr, the end of stdin ends it.",
    )
    explain = verbs.add_parser(
        "explain",
        help="say what happened in a call and why it ended",
        description="Draws the ladder of a call from the envelopes kept here and verifies every signature.",
    )
    explain.add_argument("call_id", metavar="CALL", help="id of the call, as in its history")
    explain.add_argument("--json", action="store_true", help="for programs")
    explain.add_argument("--data", metavar="DIR", help="data directory (default: that of this user)")
    relay = verbs.add_parser(
        "relay",
        help="serve a Gun relay to other nodes",
        description="Serves a Gun relay. One JSON line on stdout says where; SIGTERM ends it. TURN and STUN "
        "are not served by this version: their members of that line are null.",
    )
    relay.add_argument("--host", help="address to listen on (default: every interface)")
    relay.add_argument("--gun-port", type=_port, metavar="N", help="default 8765; 0 takes a free one")
    relay.add_argument("--data", required=True, metavar="DIR", help="directory of the graph")
    relay.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="URL",
        help="another relay, ours or gun.js, to connect to and to share with; may be repeated",
    )
    relay.add_argument("--config", metavar="FILE", help="JSON in the shape of AlephNet's config.json")
    relay.add_argument(
        "--no-gun", action="store_true", help="no Gun relay, which leaves nothing to serve yet"
    )
    relay.add_argument("--no-turn", action="store_true", help="no TURN; accepted, as there is none yet")
    relay.add_argument("--parent-pid", type=int, metavar="PID", help="end when that process is gone")
    _add_simulate(verbs.add_parser("simulate", help="run many nodes in virtual time from a seed"))
    return parser


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs the real call and conference machines of several users over a seeded network and graph in "
        "virtual time. The same options give the same output. Exits with 70 where a promise is broken."
    )
    parser.add_argument("--seed", type=int, required=True, metavar="N", help="what everything is drawn from")
    parser.add_argument("--peers", type=int, default=3, metavar="K", help="users, 2 to 12 (default 3)")
    parser.add_argument(
        "--net",
        default="wifi",
        metavar="PRESET",
        help="perfect, wifi (default), wifi_lossy, cellular, satellite, congested or partitioned",
    )
    parser.add_argument(
        "--seconds", type=float, default=120.0, metavar="S", help="how long they live (default 120)"
    )
    parser.add_argument(
        "--faults",
        default="",
        metavar="LIST",
        help="comma-separated: loss, duplicate, reorder, slowgraph, noconnect, partition, crash, restart, "
        "suspend, deadpath, replay, medialost, skew, stranger-flood",
    )
    parser.add_argument(
        "--plain", action="store_true", help="leave out the cryptography, which is several times faster"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError("not a port from 0 to 65535")
    return int(text)
