# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Ten runs of one task, and of one play, at the same time against one server.

Each ends ok, changed, or with an error that speaks of a conflict; then the server is as declared, and no document is
lost.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import modules
import proxy
import pytest
import tree
from cases import CASES, Case
from couch import PREFIX, Couch
from tally import TRIED

RUNS = 10
SECONDS = 120
CHANGING = [case for case in CASES if case.named]


def conflict(message: str) -> bool:
    """Whether an error means that another run was faster."""
    return any(word in message for word in ("409", "412", "conflict", "404", "not_found", "file_exists"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CHANGING, ids=str)
def test_ten_runs_at_once_end_as_declared(case: Case, couch: Couch, whole: bool) -> None:
    if not whole and CHANGING.index(case) % 3:
        pytest.skip("one of the whole, which runs with --soak")
    case.before(couch)
    options = case.given(couch, url=couch.url)
    before = couch.snapshot()
    with modules.processes(RUNS, case.module, options) as started:
        for process in started:
            modules.begin(process)
        ended = [modules.ended(process, SECONDS) for process in started]
    TRIED["runs at the same time"] += RUNS

    for run in ended:
        assert not run.crash, run.crash
        assert not run.failed or conflict(run.message), run.message
    assert any(run.result["changed"] for run in ended)
    assert case.proof(couch) == case.proved
    assert not modules.run(case.module, options).result["changed"]
    after = couch.snapshot()
    unnamed = {place for place in before if not place.startswith(case.named)}
    assert {place: after.get(place) for place in unnamed} == {place: before[place] for place in unnamed}


@pytest.mark.timeout(300)
def test_six_runs_at_once_change_the_password_that_they_log_in_with(
    couch: Couch, between: proxy.Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CouchDB 3.4 and later locks an account after five failed logins.

    All six log in before one goes on: a run that comes too late has to fail once to see that the password is another.
    """
    name, passwords = f"{PREFIX}_own", [f"own password {number}" for number in range(4)]
    assert not modules.run(
        "couchdb_admin", {**couch.login, "url": couch.url, "name": name, "password": passwords[0]}
    ).failed
    for before, after in itertools.pairwise(passwords):
        options = {"url": between.url, "login_user": name, "login_password": before, "name": name, "password": after}
        monkeypatch.setitem(between.meetings, "POST /_session", threading.Barrier(6))
        with modules.processes(6, "couchdb_admin", options) as started:
            for process in started:
                modules.begin(process)
            ended = [modules.ended(process, SECONDS) for process in started]
        assert [run.message or run.crash for run in ended if run.failed or run.crash] == []
        assert couch.ask("GET", "_session", login=(name, after))[0] == 200
        TRIED["runs at the same time"] += 6
    hashes = {node: couch.ask("GET", "_node", node, "_config", "admins", name)[1] for node in couch.nodes}
    assert len(set(hashes.values())) == 1


DOCUMENTS = 200
PLAY = f"""\
- hosts: all
  gather_facts: false
  module_defaults:
    group/couchpy.couchdb.couchdb:
      url: "{{{{ url }}}}"
      login_user: "{{{{ username }}}}"
      login_password: "{{{{ password }}}}"
  tasks:
    - couchpy.couchdb.couchdb_database:
        name: [{PREFIX}_play]
        revs_limit: 50
    - couchpy.couchdb.couchdb_user:
        users: "{{{{ users }}}}"
"""


@pytest.mark.timeout(300)
def test_ten_runs_of_a_play_at_once_lose_no_document(couch: Couch, tmp_path: Path) -> None:
    """Users are documents: all that the play declares exist afterwards, each once, and earlier ones stay."""
    couch.delete(f"{PREFIX}_play")
    there = [
        {
            "_id": f"org.couchdb.user:{PREFIX}_there{number}",
            "name": f"{PREFIX}_there{number}",
            "type": "user",
            "roles": [],
        }
        for number in range(DOCUMENTS)
    ]
    couch.ask("POST", "_users", "_bulk_docs", body={"docs": there})
    users = [{"name": f"{PREFIX}_play{number}", "roles": ["shop"]} for number in range(DOCUMENTS)]
    variables = {"url": couch.url, "username": couch.username, "password": couch.password, "users": users}
    (tmp_path / "variables.json").write_text(json.dumps(variables))
    (tmp_path / "play.yml").write_text(PLAY)
    hosts = ",".join(f"run{number}" for number in range(RUNS)) + ","
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", hosts, "-c", "local", f"--forks={RUNS}"]
    ended = subprocess.run(
        [*command, "-e", f"@{tmp_path / 'variables.json'}", str(tmp_path / "play.yml")],
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_NOCOLOR": "true",
        },
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    TRIED["runs of a play at the same time"] += RUNS

    assert "unreachable=0" in ended.stdout, ended.stdout
    failures = [line for line in ended.stdout.splitlines() if line.startswith(("fatal:", "[ERROR]"))]
    assert all(conflict(line) for line in failures), ended.stdout
    assert "changed=0" not in ended.stdout or ended.stdout.count("changed=0") < RUNS
    held = {row["id"]: row["value"]["rev"] for row in couch.ask("GET", "_users", "_all_docs")[1]["rows"]}
    for kind in ("play", "there"):
        wanted = {f"org.couchdb.user:{PREFIX}_{kind}{number}" for number in range(DOCUMENTS)}
        # Each was written once: the other runs found it as declared.
        assert {docid for docid, rev in held.items() if docid in wanted and rev.startswith("1-")} == wanted
    assert couch.ask("GET", f"{PREFIX}_play", "_revs_limit") == (200, 50)
