# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""The fault matrix: every module, each fault of the proxy at each of its requests in turn.

A module that meets a fault either succeeds or reports in one message what happened; it does not hang; it does nothing
twice; a second run without the fault leads to the declared state; and nothing else changes.
"""

from __future__ import annotations

import re
import time
import types
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modules
import proxy
import pytest
import yaml
from ansible_collections.couchpy.couchdb.plugins.module_utils._client import connection
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module
from cases import CASES, MAY_BE_DONE_TWICE, Case
from couch import Couch
from tally import TRIED

ROOT = Path(__file__).resolve().parents[2]

# Timeouts in seconds, for faults with an answer and for those without.
TIMEOUT = 20.0
SHORT_TIMEOUT = 0.5
# Seconds after which a node is down for a restart.
AFTERMATH = 0.5

# Seconds that a run may take in addition to waiting for answers, on a busy machine.
SLACK = 5.0

LONGEST_PAUSE = 0.1
READING_POSTS = ("_all_docs", "_bulk_get", "_dbs_info", "_find")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between retries of a request, and timeouts below a second."""
    pause = types.SimpleNamespace(
        monotonic=time.monotonic, time=time.time, sleep=lambda s: time.sleep(min(s, LONGEST_PAUSE))
    )
    monkeypatch.setattr(connection, "time", pause)
    monkeypatch.setitem(module.CONNECTION["timeout"], "type", "float")
    monkeypatch.setattr(proxy, "AWAY", 1.5 * LONGEST_PAUSE)


def writes(request: proxy.Request) -> bool:
    """Whether a request may change something."""
    if request.method in ("GET", "HEAD"):
        return False
    return not (request.method == "POST" and request.path.rpartition("/")[2] in READING_POSTS)


def test_every_module_is_in_the_matrix() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    assert {case.module for case in CASES} == set(runtime["action_groups"]["couchdb"])


def chosen(number: int, case: int, requests: int, whole: bool) -> Iterator[int]:
    """The requests of a case at which the fault with this number occurs: all of them, or in a sample one or none."""
    if whole:
        yield from range(1, requests + 1)
    elif (number + case) % 4 == 0:
        yield (number // 4 + case) % requests + 1


@dataclass
class Usual:
    """A run without faults: how many requests it takes, and what else is on the server."""

    requests: int
    untouched: dict[str, Any]


@pytest.fixture(scope="module")
def known(couch: Couch) -> dict[int, Usual]:
    """The run without faults of the case that ran last, by its place in CASES. Another case leaves other things behind."""
    return {}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", proxy.FAULTS)
@pytest.mark.parametrize("place", range(len(CASES)), ids=[str(case) for case in CASES])
def test_a_fault_does_no_harm(
    place: int,
    fault: str,
    couch: Couch,
    between: proxy.Proxy,
    elsewhere: proxy.Proxy,
    whole: bool,
    known: dict[int, Usual],
) -> None:
    case = CASES[place]
    if place not in known:
        known.clear()
        known[place] = usual(case, couch, between)
    requests, untouched = known[place].requests, known[place].untouched
    for at in chosen(list(proxy.FAULTS).index(fault), place, requests, whole):
        TRIED["fault cases"] += 1
        try:
            meet(case, fault, at, couch, between)
            assert elsewhere.journal() == [], "a request followed a redirect"
            assert unnamed(couch.snapshot(), case) == untouched
        except AssertionError as error:
            raise AssertionError(f"{case} meets {fault!r} at request {at} of {requests}: {error}") from error


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_refused_login_is_reported_and_changes_nothing(
    case: Case, couch: Couch, between: proxy.Proxy, known: dict[int, Usual]
) -> None:
    known.clear()
    case.before(couch)
    before = couch.snapshot()
    between.disarm()
    wrong = {**case.given(couch, url=between.url), "login_user": "nobody_here", "login_password": "hidden password"}
    run = modules.run(case.module, wrong)
    assert run.failed
    assert not run.result["changed"]
    assert (run.result["status"], run.result["error"]) == (401, "unauthorized")
    assert "Name or password is incorrect" in run.message
    assert "hidden" not in str(run.result)
    assert_one_message(run, case, couch, between)
    assert couch.snapshot() == before


def usual(case: Case, couch: Couch, between: proxy.Proxy) -> Usual:
    """Run a case without faults."""
    case.before(couch)
    between.disarm()
    run = modules.run(case.module, case.given(couch, url=between.url))
    requests = len(between.journal())
    assert done_well(run, case), run
    assert case.proof(couch) == case.proved
    return Usual(requests, unnamed(couch.snapshot(), case))


def meet(case: Case, name: str, at: int, couch: Couch, between: proxy.Proxy) -> None:
    """Run a case with a fault at a request, and then again without."""
    fault = proxy.FAULTS[name]
    case.before(couch)
    timeout = SHORT_TIMEOUT if fault.late else TIMEOUT
    between.slowness = 3 * SHORT_TIMEOUT
    between.arm(fault, at)
    met = modules.run(case.module, case.given(couch, hurried=not fault.harmless, url=between.url, timeout=timeout))
    passed = between.journal()
    between.disarm()

    assert not met.crash, met.crash
    assert met.seconds < timeout * (fault.late or 0.5) + SLACK + case.patience, f"took {met.seconds:.1f} s"
    assert_one_message(met, case, couch, between)
    assert not (fault.harmless and met.failed), met.message
    assert done_twice(passed) == []
    # The log level changes for a moment while a secret is set, which is no change of the task's.
    made = [request for request in passed if writes(request) and "_config/log/level" not in str(request)]
    if any((request.forwarded or 500) < 300 for request in made):
        assert met.result["changed"] or met.result["changes_unsure"], met.result
    if not met.failed and not fault.plausible:
        assert case.proof(couch) == case.proved, "it reported success"

    if case.always and met.failed:
        # CouchDB answers a request to restart first, and restarts then.
        time.sleep(AFTERMATH)
        couch.wait()
    again = modules.run(case.module, case.given(couch, url=between.url))
    assert done_well(again, case), again
    assert case.proof(couch) == case.proved
    third = modules.run(case.module, case.given(couch, url=between.url), check_mode=True)
    assert done_well(third, case), third
    assert third.result["changed"] is case.always, third.result


def done_well(run: modules.Run, case: Case) -> bool:
    """Whether a run succeeded and returned all that it should."""
    return not run.crash and not run.failed and set(case.returns) <= set(run.result)


def assert_one_message(run: modules.Run, case: Case, couch: Couch, between: proxy.Proxy) -> None:
    """A failure is reported in one line with the URL, without a traceback and without a password."""
    assert run.result, run.output
    assert [text for text in texts(run.result) if couch.password in text] == []
    if not run.failed:
        return
    assert 20 < len(run.message) < 2000, run.message
    assert "\n" not in run.message
    assert not re.search(r"Traceback|Error\(|object at 0x", run.message), run.message
    assert f":{between.port}" in run.message, run.message


def done_twice(passed: list[proxy.Request]) -> list[str]:
    """Requests that reached the server more than once, and must not."""
    counted = Counter((str(request), request.body) for request in passed if writes(request) and request.forwarded)
    return [
        what
        for (what, _body), count in counted.items()
        if count > 1 and not any(re.fullmatch(pattern, what) for pattern in MAY_BE_DONE_TWICE)
    ]


def unnamed(snapshot: dict[str, Any], case: Case) -> dict[str, Any]:
    """A snapshot without the entries that a case names."""
    return {place: held for place, held in snapshot.items() if not place.startswith(case.named)}


def texts(value: Any) -> Iterator[str]:
    """All strings in a JSON value, except names of fields."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for held in value:
            yield from texts(held)
    elif isinstance(value, str):
        yield value
