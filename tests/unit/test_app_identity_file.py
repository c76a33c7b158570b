"""The identity file is upstream's: read only if it exists, created whole and private otherwise."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.app.device_file import REISSUE_MS, DeviceFile
from sidecar.app.identity_file import create_identity, load_or_create, read_identity, write_json
from sidecar.errors import LocalError, UnavailableError
from sidecar.graph.core import sea
from sidecar.trust import boxkeys, cards, identity
from tests.signaling_kit import ALICE, BOB, NOW_MS, SeededRandom

VECTORS = Path(__file__).parent.parent / "vectors" / "alephnet" / "identity.json"


def upstream_file(folder: Path) -> Path:
    path = folder / "identity.json"
    members = json.loads(VECTORS.read_text("utf-8"))["vectors"][0]["identity"]
    path.write_text(json.dumps(members, indent=2))
    return path


def test_upstreams_file_is_read_and_never_written(tmp_path: Path) -> None:
    path = upstream_file(tmp_path)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    found = load_or_create(str(path), SeededRandom())
    assert found.fingerprint == "278b542f566c16a3"
    assert found.sea is None
    identity.check_pair(found)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert os.listdir(tmp_path) == ["identity.json"]


def test_a_missing_file_is_created_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "identity.json"
    made = load_or_create(str(path), SeededRandom())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["identity.json"]
    assert load_or_create(str(path), SeededRandom(2)) == made
    identity.check_pair(made)


def test_what_is_created_has_everything_upstream_expects(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    create_identity(str(path), SeededRandom())
    text = path.read_text("utf-8")
    document = json.loads(text)
    assert list(document) == ["pub", "priv", "resonance", "fingerprint", "bodyPrimes", "sea"]
    assert text.startswith('{\n  "pub": "MCowBQYDK2VwAyEA')
    pair = document["sea"]
    assert set(pair) == {"pub", "priv", "epub", "epriv"}
    assert sea.verify(sea.sign("hello", pair), pair["pub"]) == "hello"


def test_an_identity_that_appears_meanwhile_wins(tmp_path: Path) -> None:
    path = upstream_file(tmp_path)
    assert create_identity(str(path), SeededRandom()).fingerprint == "278b542f566c16a3"


def test_no_file_is_not_an_error_for_a_reader(tmp_path: Path) -> None:
    assert read_identity(str(tmp_path / "identity.json")) is None


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in identity.to_json(ALICE).items() if key != name}


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 10_000, "not JSON"),
        ("[]", "not an object"),
        ("x" * 70_000, "more than 65536 bytes"),
        (json.dumps(without("pub")), "identity.pub"),
        (json.dumps(without("priv")), "identity.priv"),
        (json.dumps(without("fingerprint")), "identity.fingerprint"),
        (json.dumps(without("resonance")), "identity.resonance"),
        (json.dumps(identity.to_json(ALICE) | {"fingerprint": BOB.fingerprint}), "identity.fingerprint"),
        (json.dumps(identity.to_json(ALICE) | {"pub": ALICE.pub + " "}), "identity.pub"),
        (json.dumps(identity.to_json(ALICE) | {"bodyPrimes": ["7"]}), "identity.bodyPrimes"),
        (json.dumps(identity.to_json(ALICE) | {"sea": {"pub": "x"}}), "identity.sea"),
    ],
)
def test_a_malformed_file_is_named_and_left_alone(tmp_path: Path, text: str, cause: str) -> None:
    path = tmp_path / "identity.json"
    path.write_text(text)
    with pytest.raises(UnavailableError) as caught:
        load_or_create(str(path), SeededRandom())
    assert str(path) in caught.value.message
    assert cause in caught.value.message
    assert path.read_text() == text


def test_a_path_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="Is a directory"):
        load_or_create(str(tmp_path), SeededRandom())
    with pytest.raises(UnavailableError, match="Not a directory"):
        load_or_create(str(upstream_file(tmp_path) / "below"), SeededRandom())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="/proc/"):
        create_identity("/proc/aleph/identity.json", SeededRandom())


def test_keys_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(LocalError, match=r"identity\.priv"):
        identity.check_pair(ALICE._replace(priv=BOB.priv))


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert write_json(str(path), {"a": 1}, SeededRandom(), replace=False)
    assert not write_json(str(path), {"a": 2}, SeededRandom(2), replace=False)
    assert json.loads(path.read_text()) == {"a": 1}
    assert write_json(str(path), {"a": 3}, SeededRandom(3), replace=True)
    assert json.loads(path.read_text()) == {"a": 3}
    assert os.listdir(tmp_path) == ["x.json"]


def test_reading_needs_no_cryptography_and_no_msgspec(tmp_path: Path) -> None:
    """It happens before the ready line, where there is no time to load them."""
    path = upstream_file(tmp_path)
    script = (
        "import sys\n"
        "from sidecar.app.identity_file import read_identity\n"
        f"assert read_identity({str(path)!r}).fingerprint == '278b542f566c16a3'\n"
        "print(sorted({'nacl', 'cryptography', 'msgspec', 'asyncio', 'dataclasses'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_device_keeps_its_id_and_keys(tmp_path: Path) -> None:
    device = DeviceFile.inside(str(tmp_path), SeededRandom())
    keys = device.box_keys(NOW_MS)
    card = device.card(BOB, NOW_MS)
    assert stat.S_IMODE((tmp_path / "device.json").stat().st_mode) == 0o600
    again = DeviceFile.inside(str(tmp_path), SeededRandom(2))
    assert again.device == device.device
    assert again.box_keys(NOW_MS + 1) == keys
    assert again.card(BOB, NOW_MS + 1) == card  # the same leaf is put again
    assert cards.DEVICE.match(device.device)


def test_another_data_directory_is_another_device(tmp_path: Path) -> None:
    one = DeviceFile(str(tmp_path / "one.json"), SeededRandom(1))
    two = DeviceFile(str(tmp_path / "two.json"), SeededRandom(2))
    assert one.device != two.device


def test_private_halves_are_deleted_48_hours_after_their_end(tmp_path: Path) -> None:
    device = DeviceFile.inside(str(tmp_path), SeededRandom())
    (first,) = device.box_keys(NOW_MS)
    ended = first.not_after_ms
    assert first in device.box_keys(ended + boxkeys.GRACE_MS - 1)
    assert first not in device.box_keys(ended + boxkeys.GRACE_MS)
    assert first.private.hex() not in (tmp_path / "device.json").read_text()


def test_the_card_is_made_anew_daily_and_when_keys_or_the_identity_change(tmp_path: Path) -> None:
    device = DeviceFile.inside(str(tmp_path), SeededRandom())
    card = device.card(BOB, NOW_MS)
    assert device.card(BOB, NOW_MS + REISSUE_MS - 1) == card
    newer = device.card(BOB, NOW_MS + REISSUE_MS)
    assert newer.issued_at_ms == NOW_MS + REISSUE_MS
    read = cards.read(newer.text, BOB.fingerprint, newer.issued_at_ms)
    assert read.device == device.device
    assert device.card(ALICE, NOW_MS + REISSUE_MS).text != newer.text
    rotated = device.card(ALICE, NOW_MS + boxkeys.LIFETIME_MS)
    assert len(cards.read(rotated.text, ALICE.fingerprint, rotated.issued_at_ms).box_keys) == 1


def test_s10_a_card_from_a_clock_that_was_ahead_is_made_anew(tmp_path: Path) -> None:
    device = DeviceFile.inside(str(tmp_path), SeededRandom())
    device.card(BOB, NOW_MS + 600_000)
    assert device.card(BOB, NOW_MS).issued_at_ms == NOW_MS


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "nonsense",
        '{"deviceId":"xyz","boxKeys":[],"card":null}',
        '{"deviceId":"0123456789abcdef","boxKeys":[{"private":"00","notAfter":1}],"card":null}',
        '{"deviceId":"0123456789abcdef","boxKeys":5,"card":null}',
        '{"deviceId":"0123456789abcdef","boxKeys":[],"card":["a"]}',
    ],
)
def test_a_malformed_device_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "device.json"
    path.write_text(text)
    with pytest.raises(UnavailableError, match=r"device\.json"):
        DeviceFile.inside(str(tmp_path), SeededRandom())
    assert path.read_text() == text
