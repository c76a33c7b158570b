"""A call between the example application, in a real Electron, and a friend whose sidecar Node spawned."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.interop.electron import EXAMPLE, Page, application, install_example
from tests.interop.typescript import ELECTRON_PACKAGE, PACKAGE, PEERS, build, line, node, started
from tests.peers import ROOT, need

pytestmark = pytest.mark.real_peer("electron")
FRIEND = PEERS / "friend.mjs"
SETTLED_S = 30


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    need("electron")
    build(PACKAGE)
    build(ELECTRON_PACKAGE)


class Friend:
    """The program at the other end of the call."""

    def __init__(self, process: asyncio.subprocess.Process, user_id: str) -> None:
        self._process = process
        self.user_id = user_id

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())

    async def says(self, key: str, value: Any = None) -> dict[str, Any]:
        """The next line that has ``key``, with ``value`` if one is given."""
        async with asyncio.timeout(SETTLED_S):
            while True:
                told = json.loads(await line(self._process, SETTLED_S))
                assert "failed" not in told, told
                if key in told and value in (None, told[key]):
                    return told


class Setting(NamedTuple):
    alice: Page
    alice_id: str
    bob: Friend


async def _self(data_dir: Path) -> dict[str, str]:
    """Lets a sidecar make its identity and say who it is."""
    return (await node(PEERS / "sidecar.mjs", "life", str(data_dir), sys.executable))["self"]


def _config(relay: str, friend: dict[str, str], name: str) -> dict[str, Any]:
    return {
        "network": {"peers": [relay]},
        "media": {
            "iceInterfaces": ["127.0.0.0/8"],
            "camera": "pattern:size=320x180,fps=15",
            "microphone": "tone:440",
        },
        "social": {
            "friends": [{"id": friend["userId"], "displayName": name, "publicKey": friend["publicKey"]}]
        },
    }


@asynccontextmanager
async def relay(folder: Path) -> AsyncIterator[str]:
    command = [sys.executable, "-m", "sidecar", "relay", "--host", "127.0.0.1", "--gun-port", "0"]
    async with started([*command, "--data", str(folder), "--no-turn"]) as process:
        yield json.loads(await line(process))["gun"]


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    user_data, bob_data = tmp_path / "alice", tmp_path / "bob"
    user_data.mkdir()
    alice_self, bob_self = await asyncio.gather(_self(user_data / "calls"), _self(bob_data))
    app = install_example(tmp_path / "app")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    async with relay(tmp_path / "relay") as url:
        (user_data / "config.json").write_text(json.dumps(_config(url, bob_self, "Bob")))
        command = ["node", str(FRIEND), str(bob_data), sys.executable]
        async with (
            started([*command, json.dumps(_config(url, alice_self, "Alice"))]) as process,
            application(app, user_data, {"PATH": path}) as page,
        ):
            bob = Friend(process, bob_self["userId"])
            await bob.says("self")
            yield Setting(page, alice_self["userId"], bob)


async def _shows(page: Page, text: str) -> None:
    """Waits until the page's status begins so."""
    await page.run(
        f"""new Promise((resolve, reject) => {{
              const begins = () => state.textContent.startsWith({json.dumps(text)});
              if (begins()) return resolve();
              const late = () => reject(new Error("the page shows: " + state.textContent));
              setTimeout(late, {SETTLED_S * 1000});
              new MutationObserver(() => begins() && resolve()).observe(state, {{ childList: true }});
            }})""",
        timeout_s=SETTLED_S + 5,
    )


async def test_a_page_calls_a_friend_and_hangs_up(setting: Setting) -> None:
    alice, _, bob = setting
    await alice.run(f'user.value = {json.dumps(bob.user_id)}; document.getElementById("call").click()')
    offer = (await bob.says("offer"))["offer"]
    assert (offer["fromDisplayName"], offer["type"]) == ("Alice", "video")
    await bob.says("state", "active")
    await _shows(alice, "active")
    await alice.run('document.getElementById("end").click()')
    await _shows(alice, "ended: local-hangup")
    assert (await bob.says("state", "ended"))["reason"] == "remote-hangup"


async def test_a_page_takes_the_call_of_a_friend_who_hangs_up(setting: Setting) -> None:
    alice, alice_id, bob = setting
    await alice.run("void (window.confirm = (question) => { window.asked = question; return true; })")
    bob.tell(f"call {alice_id}")
    await bob.says("state", "active")
    await _shows(alice, "active")
    assert await alice.run("asked") == "Bob calls. Accept?"
    bob.tell("end")
    await _shows(alice, "ended: remote-hangup")


def test_the_readme_shows_the_application_called_here() -> None:
    readme = (ROOT / "README.md").read_text()
    for file in ("main.js", "preload.js"):
        assert f"```js\n{(EXAMPLE / file).read_text()}```" in readme, file
