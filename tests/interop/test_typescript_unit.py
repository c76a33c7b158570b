"""The own suites of the TypeScript packages, run by Node's test runner as part of ours."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from tests.interop.typescript import ELECTRON_PACKAGE, PACKAGE, build, compile_tests

pytestmark = pytest.mark.real_peer("node")
PACKAGES = (PACKAGE, ELECTRON_PACKAGE)
SUITES = sorted(suite for package in PACKAGES for suite in (package / "test").glob("*.test.ts"))


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    for package in PACKAGES:
        build(package)
        compile_tests(package)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name.removesuffix(".test.ts"))
async def test_suite_passes(suite: Path) -> None:
    run = await asyncio.create_subprocess_exec(
        "node",
        "--test",
        f"dist/test/test/{suite.stem}.js",
        cwd=suite.parent.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(run.communicate(), 100)
    text = out.decode()
    assert run.returncode == 0, text
    assert re.search(r"^# pass [1-9]", text, re.MULTILINE), text
