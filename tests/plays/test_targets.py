# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The integration targets, by direct execution and by modules: every task of theirs must have the same result both ways.

ansible-test runs the targets too, on each ansible-core, and directly (tests/tools/integration.py). Here each has two embedded
servers, one for each way. What only ``depth`` and ``refusals`` have runs with ``--whole``.
"""

from __future__ import annotations

import contextlib
import json
import sys
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playbook_runs import ROOT, Plays, settled

sys.path += [str(ROOT / "tests" / "server"), str(ROOT / "tests" / "tools")]

import embedded
import integration

pytestmark = pytest.mark.timeout(1800)

FOLDER = ROOT / "tests" / "integration" / "targets"
TARGETS = sorted(path.name for path in FOLDER.glob("couchdb_*"))
OURS = "couchpy.couchdb."
WAYS = ("direct", "module")

# What the server says of itself at that moment, or has of its own: its load, its ports, its age, replications that fail.
OF_THE_SERVER = {"system", "stats", "health", "port", "uptime_before", "uptime_after", "seconds_away"}


def differences(one: t.Any, other: t.Any, place: str = "") -> t.Iterator[str]:
    """Where two results differ, except in what is the server's own."""
    if isinstance(one, dict) and isinstance(other, dict) and set(one) == set(other):
        for name in sorted(set(one) - OF_THE_SERVER):
            yield from differences(one[name], other[name], f"{place}/{name}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, f"{place}/{number}")
    elif one != other:
        yield f"{place}: {one!r} directly, {other!r} by the module"


def run(folder: Path, target: str, way: str, skipped: tuple[str, ...]) -> list[tuple[str, dict[str, t.Any]]]:
    """Run a target on servers of its own; return the names of its tasks, with the results of this collection's."""
    plays = Plays(folder / way)
    plays.folder.mkdir()
    inventory = plays.folder / "inventory"
    inventory.write_text(f"testhost ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    with contextlib.ExitStack() as servers:
        server = servers.enter_context(embedded.server(dialect="3", admin="admin:secret"))
        urls: list[str] = []
        if target in integration.OF_CLUSTERS:
            urls = servers.enter_context(embedded.server(dialect="3", admin="admin:secret", nodes=3)).urls
        variables = {
            "couchdb_url": server.url,
            "couchdb_username": "admin",
            "couchdb_password": "secret",
            "couchdb_dialect": "3",
            "couchdb_cluster_urls": urls,
            "output_dir": str(plays.folder),
        }
        ended = plays.run(
            {"hosts": "testhost", "gather_facts": True, "vars": variables, "roles": [target]},
            *("-i", str(inventory), *skipped, "-vvv"),
            environment={"ANSIBLE_ROLES_PATH": str(FOLDER), "ANSIBLE_COUCHDB_DIRECT": "1" if way == "direct" else "0"},
            timeout=1500,
        )
    assert ended.status == 0, ended.printed
    assert ("direct execution in this process" in ended.printed) == (way == "direct"), ended.printed
    lines = map(json.loads, (plays.folder / "results.jsonl").read_text().splitlines())
    return [(line["task"], line["result"] if line["action"].startswith(OURS) else {}) for line in lines]


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_the_same_results_both_ways(target: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    skipped = () if request.config.getoption("--whole") else ("--skip-tags", "refusals,depth")
    with ThreadPoolExecutor(len(WAYS)) as pool:
        direct, module = pool.map(lambda way: run(tmp_path, target, way, skipped), WAYS)
    assert [name for name, _result in direct] == [name for name, _result in module]
    for (name, result), (_name, other) in zip(direct, module, strict=True):
        assert "\n".join(differences(settled(result), settled(other))) == "", name
