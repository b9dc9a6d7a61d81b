# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the tests of the report, and what is said when there is no browser to look at it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

import browser

LEFT_OUT: list[str] = []


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser with nothing in its profile."""
    from playwright.sync_api import sync_playwright

    try:
        program = browser.chromium()
    except browser.Missing as error:
        LEFT_OUT.append(str(error))
        pytest.skip(str(error))
    with sync_playwright() as playwright:
        profile = tmp_path_factory.mktemp("profile")
        context = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=program, headless=True, args=browser.FLAGS, timeout=120_000
        )
        yield context
        context.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was left out, at the beginning of a line, where tests/tools/check.py finds it."""
    for reason in LEFT_OUT:
        terminalreporter.write_line(f"SKIPPED: the report was not opened in a browser: {reason}")
