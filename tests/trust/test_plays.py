# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Some of the faults with ansible-playbook itself: what its users see."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import proxy
import pytest
import tree
from couch import PREFIX, Couch

# The fault, the request at which it occurs, and whether the task fails.
MET = [
    ("reset after", 4, True),
    ("503 always", 2, True),
    ("HTML", 1, True),
    ("redirected elsewhere, 307", 1, True),
    ("100 MB", 2, True),
    ("429", 2, False),
    ("gzip", 3, False),
]

PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - couchpy.couchdb.couchdb_user:
        url: "{{ item.url }}"
        login_user: "{{ username }}"
        login_password: "{{ password }}"
        name: "{{ item.user }}"
        roles: [shop]
      loop: "{{ proxies }}"
      loop_control:
        label: "{{ item.user }}"
      ignore_errors: true
      register: met
    - ansible.builtin.copy:
        content: "{{ met.results | to_json }}"
        dest: "{{ results }}"
        mode: "0600"
"""


@pytest.mark.timeout(300)
def test_what_users_see_of_a_fault(couch: Couch, elsewhere: proxy.Proxy, tmp_path: Path) -> None:
    users = [f"{PREFIX}_fault{number}" for number in range(len(MET))]
    for user in users:
        couch.put("_users", f"org.couchdb.user:{user}", None)
    elsewhere.disarm()
    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(proxy.Proxy(couch.url)) for _fault in MET]
        for between, (fault, at, _fails) in zip(proxies, MET, strict=True):
            between.elsewhere = elsewhere.url
            between.arm(proxy.FAULTS[fault], at)
        variables = {
            "username": couch.username,
            "password": couch.password,
            "proxies": [{"url": between.url, "user": user} for between, user in zip(proxies, users, strict=True)],
            "results": str(tmp_path / "results.json"),
        }
        (tmp_path / "variables.json").write_text(json.dumps(variables))
        (tmp_path / "play.yml").write_text(PLAY)
        ended = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                *("-i", "localhost,", "-e", f"@{tmp_path / 'variables.json'}", str(tmp_path / "play.yml")),
            ],
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
            timeout=240,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout

    assert "Traceback" not in ended.stdout
    assert couch.password not in ended.stdout
    assert elsewhere.journal() == []
    results = json.loads((tmp_path / "results.json").read_text())
    for result, between, user, (fault, _at, fails) in zip(results, proxies, users, MET, strict=True):
        assert bool(result.get("failed")) is fails, (fault, result)
        document = couch.document("_users", f"org.couchdb.user:{user}")
        if fails:
            assert f":{between.port}" in result["msg"]
            assert "\n" not in result["msg"]
        else:
            assert document is not None
        if fault == "reset after":
            # It was written, and the task reports that it can't know.
            assert document is not None
            assert result["changes_unsure"] == [f"create user {user}"]
