"""The Electron binding in a real Electron 9.4.1, with a sidecar that only answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.interop.electron import Page, application, install_example
from tests.interop.typescript import ELECTRON_PACKAGE, PACKAGE, Exit, build, compile_tests
from tests.peers import need

pytestmark = [pytest.mark.real_peer("electron"), pytest.mark.asyncio(loop_scope="module")]
RELAY = "http://127.0.0.1:1/gun"


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    need("electron")
    build(PACKAGE)
    build(ELECTRON_PACKAGE)
    compile_tests(PACKAGE)


OWN_PRELOAD = 'path.join(__dirname, "dist", "preload.js")'
READY_MADE_PRELOAD = 'require.resolve("@alephnet/sidecar-electron/preload")'


@asynccontextmanager
async def example(tmp_path: Path, preload: str = OWN_PRELOAD) -> AsyncIterator[Page]:
    """The example's page; its ``python3 -m sidecar ipc`` is the fake sidecar of the client's tests."""
    programs = tmp_path / "bin"
    programs.mkdir()
    fake = PACKAGE / "dist" / "test" / "test" / "fake-sidecar.js"
    (programs / "python3").write_text(f"#!/bin/sh\nexec {need('node')} {fake}\n")
    (programs / "python3").chmod(0o755)
    user_data = tmp_path / "user-data"
    user_data.mkdir()
    (user_data / "config.json").write_text(json.dumps({"network": {"peers": [RELAY]}}))
    app = install_example(tmp_path / "app")
    main = (app / "main.js").read_text()
    assert OWN_PRELOAD in main
    (app / "main.js").write_text(main.replace(OWN_PRELOAD, preload))
    async with application(app, user_data, {"PATH": f"{programs}:/usr/bin:/bin"}) as page:
        yield page


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    """For tests that leave the application as it was; Electron takes seconds to start."""
    async with example(tmp_path_factory.mktemp("shared")) as page:
        yield page


@pytest_asyncio.fixture(loop_scope="module")
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with example(tmp_path) as page:
        yield page


async def test_a_page_calls_and_hears_of_it(shared_page: Page) -> None:
    assert shared_page.electron == "9.4.1"
    await shared_page.run('document.getElementById("user").value = "bob"')
    await shared_page.run(
        """new Promise((resolve) => {
             electronAPI.onCallStateChange((event, change) => resolve(change));
             document.getElementById("call").click();
           })"""
    )
    assert await shared_page.run("state.textContent") == "ringing"
    session = await shared_page.run('electronAPI.callInitiate({ userId: "carol", type: "audio" })')
    assert (session["state"], session["type"]) == ("initiating", "audio")
    assert session["participants"][0]["userId"] == "carol"


async def test_an_error_keeps_its_code_on_the_way_to_the_page(shared_page: Page) -> None:
    caught = await shared_page.run("electronAPI.callListActive().catch((error) => error)")
    assert caught == {"code": "not-implemented", "message": "call:list-active is not made"}


async def test_a_page_gets_names_and_no_way_around_them(shared_page: Page) -> None:
    names = await shared_page.run("Object.keys(electronAPI)")
    assert {"callInitiate", "callMuteAudio", "rtcSendIce", "onCallOffer", "onSidecar"} <= set(names)
    assert not {"systemShutdown", "systemHello", "socialSync"} & set(names)
    assert await shared_page.run("typeof require + typeof process + typeof ipcRenderer") == "undefined" * 3
    event = await shared_page.run(
        """new Promise((resolve) => {
             electronAPI.onCallStateChange((event) => resolve(event));
             electronAPI.callInitiate({ userId: "bob", type: "audio" });
           })"""
    )
    assert event == {"channel": "aleph:callStateChange"}


async def test_an_ended_subscription_is_silent(shared_page: Page) -> None:
    heard = await shared_page.run(
        """new Promise((resolve) => {
             const heard = [];
             const off = electronAPI.onCallStateChange(() => heard.push("ended one"));
             off();
             electronAPI.onCallStateChange(() => { heard.push("live one"); resolve(heard); });
             electronAPI.callInitiate({ userId: "bob", type: "audio" });
           })"""
    )
    assert heard == ["live one"]


async def test_the_page_is_told_when_the_sidecar_was_replaced(page: Page) -> None:
    (first,) = page.sidecars()
    await page.run(
        """void (window.restarted = new Promise((resolve) => electronAPI.onSidecar((event, notice) => {
             if (notice.notice === "restarted") resolve(notice.hello.self.userId);
           })))"""
    )
    first.kill()
    user = await page.run("restarted")
    (second,) = page.sidecars()
    assert user == f"pid-{second.pid}" != f"pid-{first.pid}"


async def test_a_page_that_went_elsewhere_is_refused(page: Page) -> None:
    await page.navigate("about:blank")
    caught = await page.run("electronAPI.callListActive().catch((error) => error)")
    assert caught == {"code": "policy.permission-missing", "message": "this page is not trusted"}


async def test_the_ready_made_preload_works_in_a_sandbox(tmp_path: Path) -> None:
    async with example(tmp_path, READY_MADE_PRELOAD) as page:
        session = await page.run('alephAPI.callInitiate({ userId: "bob", type: "audio" })')
        assert session["participants"][0]["userId"] == "bob"


async def test_quitting_ends_the_sidecar(page: Page) -> None:
    (sidecar,) = page.sidecars()
    gone = Exit(sidecar.pid)
    assert await page.quit() == 0
    await gone.wait(timeout_s=0.1)


async def test_a_killed_application_leaves_no_sidecar(page: Page) -> None:
    (sidecar,) = page.sidecars()
    gone = Exit(sidecar.pid)
    page.process.kill()
    await gone.wait(timeout_s=2)
