"""Options and markers shared by all tests."""

from __future__ import annotations

import hypothesis
import pytest

hypothesis.settings.register_profile("suite", deadline=None)  # a busy machine fails no test
hypothesis.settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the full counts")


@pytest.fixture(scope="session")
def long_run(request: pytest.FixtureRequest) -> bool:
    """True under ``scripts/test --long``: property and soak tests multiply their counts."""
    return bool(request.config.getoption("--long"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="full counts: scripts/test --long")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(skip)
