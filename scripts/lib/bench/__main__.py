"""``scripts/bench NAME [--json] [--long]``"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys

import bench
from bench.report import Options


def names() -> list[str]:
    return [
        module.name
        for module in pkgutil.iter_modules(bench.__path__)
        if module.name in ("ipc", "startup", "setup", "gun", "verify", "calls")
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures; never asserts.")
    parser.add_argument("name", choices=names())
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--long", action="store_true", help="more repetitions")
    args = parser.parse_args()
    report = importlib.import_module(f"bench.{args.name}").run(Options(long=args.long))
    print(report.table(), file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(report.json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
