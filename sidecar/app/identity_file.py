"""The files that say who this node is: upstream's ``identity.json``, and ``device.json`` of our own.

An identity file that exists is only ever read: upstream writes it too, and not atomically. Reading needs
neither libsodium nor OpenSSL, because it happens before the ready line. A file that cannot be used is an
UnavailableError naming path and cause (exit code 3), never a reason to make a new identity.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from sidecar.clock import Random
from sidecar.errors import LocalError, UnavailableError
from sidecar.trust import identity as identities
from sidecar.trust.identity import Identity

MAX_BYTES = 64 * 1024
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def load_or_create(path: str, random: Random) -> Identity:
    """The identity in the file, or a new one written there if the file does not exist.

    Two processes that start at once end up with the same identity. Raises UnavailableError.
    """
    found = read_identity(path)
    return found if found is not None else create_identity(path, random)


def read_identity(path: str) -> Identity | None:
    """The identity in the file, None if there is no file. Raises UnavailableError if it cannot be used."""
    document = read_json(path)
    if document is None:
        return None
    try:
        return identities.parse(document)
    except LocalError as error:
        raise _unusable(path, error.message) from error


def create_identity(path: str, random: Random) -> Identity:
    """Writes a new identity with its SEA pair, so that upstream can use the file as it is."""
    from sidecar.graph.core import sea

    made = identities.generate(random.bytes(32), sea.make_pair(random))
    if write_json(path, identities.to_json(made), random, replace=False):
        return made
    existing = read_identity(path)
    if existing is None:
        raise _unusable(path, "was created and removed by another program")
    return existing


def read_json(path: str) -> Any | None:
    """The parsed file, None if there is none. Raises UnavailableError."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    if len(data) > MAX_BYTES:
        raise _unusable(path, f"has more than {MAX_BYTES} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _unusable(path, "not JSON") from error


def write_json(path: str, document: Mapping[str, Any], random: Random, *, replace: bool) -> bool:
    """Writes the whole file or nothing, readable by its owner only, on disk when this returns.

    Without ``replace`` an existing file stays and the answer is False. Raises UnavailableError.
    """
    folder = os.path.dirname(os.path.abspath(path))
    new = f"{path}.{random.bytes(8).hex()}.new"
    try:
        os.makedirs(folder, PRIVATE_FOLDER, exist_ok=True)
        with open(os.open(new, _NEW_FILE, PRIVATE_FILE), "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        try:
            if replace:
                os.replace(new, path)
                return True
            return _publish(new, path)
        finally:
            _remove(new)
            _sync_folder(folder)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error


def _publish(new: str, path: str) -> bool:
    """Gives the finished file its name unless that is taken."""
    try:
        os.link(new, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if os.path.exists(path):
            return False
        os.rename(new, path)
    return True


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _sync_folder(folder: str) -> None:
    if os.name == "nt":  # a folder cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unusable(path: str, cause: str) -> UnavailableError:
    return UnavailableError(f"{path}: {cause}", details={"path": path})
