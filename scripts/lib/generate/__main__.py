"""Writes what comes from the schema or a table; with --check, names what is not byte for byte current."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import diagrams
import python_channels
import python_types
import typescript
from schema import ROOT, SCHEMA_FILE, Schema

PYTHON = Path("sidecar/schema")
TYPESCRIPT = Path("bindings/typescript/src/generated")


def outputs(schema: Schema) -> Mapping[Path, str]:
    return {
        PYTHON / "types.py": python_types.generate(schema),
        PYTHON / "channels.py": python_channels.generate(schema),
        PYTHON / "version.py": python_channels.version(schema),
        TYPESCRIPT / "types.ts": typescript.types(schema),
        TYPESCRIPT / "channels.ts": typescript.channels(schema),
        TYPESCRIPT / "index.ts": typescript.index(),
        Path("docs/calls.md"): diagrams.calls(),
        Path("docs/conferences.md"): diagrams.conferences(),
    }


def write(files: Mapping[Path, str], root: Path) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        _replace(root / path, text.encode())


def _replace(file: Path, data: bytes) -> None:
    """Readers see the old file or the new one, never half of it; an unchanged file keeps its time."""
    if file.exists() and file.read_bytes() == data:
        return
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as new:
        new.write(data)
    os.chmod(new.name, 0o644)
    os.replace(new.name, file)


def drifted(files: Mapping[Path, str], root: Path) -> list[Path]:
    """Files that differ from what the generator makes, and strangers in the folder of TypeScript."""
    wrong = [path for path, text in files.items() if _bytes(root / path) != text.encode()]
    extra = [file.relative_to(root) for file in sorted((root / TYPESCRIPT).glob("*"))]
    return wrong + [path for path in extra if path not in files]


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/generate", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if anything is not current"
    )
    parser.add_argument("--schema", type=Path, default=SCHEMA_FILE, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    files = outputs(Schema(options.schema))
    if not options.check:
        write(files, options.root)
        return 0
    wrong = drifted(files, options.root)
    for path in wrong:
        print(f"not current: {path} (run scripts/generate)", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
