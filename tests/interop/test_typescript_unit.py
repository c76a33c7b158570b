"""The TypeScript client's own suite, run by Node's test runner as part of ours."""

from __future__ import annotations

import asyncio
import re
import subprocess

import pytest

from tests.interop.typescript import PACKAGE, build, compile_tests

pytestmark = pytest.mark.real_peer("node")
SUITES = sorted(path.name.removesuffix(".test.ts") for path in (PACKAGE / "test").glob("*.test.ts"))


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    build(PACKAGE)
    compile_tests(PACKAGE)


@pytest.mark.parametrize("suite", SUITES)
async def test_suite_passes(suite: str) -> None:
    run = await asyncio.create_subprocess_exec(
        "node",
        "--test",
        f"dist/test/test/{suite}.test.js",
        cwd=PACKAGE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(run.communicate(), 100)
    text = out.decode()
    assert run.returncode == 0, text
    assert re.search(r"^# pass [1-9]", text, re.MULTILINE), text
