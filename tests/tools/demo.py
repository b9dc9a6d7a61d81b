# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs examples/site.yml twice and shows that the second run changes nothing.

On an embedded server, which ends with the demo; or, when COUCHDB_URL is set, on that server, as
COUCHDB_USERNAME and COUCHDB_PASSWORD. The password reaches the playbook through its environment.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import tree

sys.path.insert(0, str(tree.ROOT / "tests/server"))

import embedded

PLAYBOOK = "examples/site.yml"
ADMIN = "admin:secret"
RECAP = re.compile(r"^localhost\s*:.*\bchanged=(\d+)", re.MULTILINE)

AFTERWARDS = """
What happened
  In the first run {first} tasks changed {where}, in the second none:
  a server that is as declared is left alone.

Where to look
  {playbook} is the whole declaration: settings, databases, and a look at the result.

How to go on
  Start a server to try things on; it runs until Ctrl-C:
      {folder}/python tests/server/run.py --port 5984 --admin {admin}
  In another terminal, name that server, or one of yours:
      export COUCHDB_URL=http://127.0.0.1:5984/ COUCHDB_USERNAME=admin COUCHDB_PASSWORD=secret
  Change the declaration, see what would change, and let it:
      export ANSIBLE_COLLECTIONS_PATH={collections}
      {folder}/ansible-playbook --check --diff {playbook}
      {folder}/ansible-playbook {playbook}
"""


@contextlib.contextmanager
def server() -> Iterator[dict[str, str]]:
    """Give the environment variables that name the server to run on."""
    if os.environ.get("COUCHDB_URL"):
        yield {"COUCHDB_URL": os.environ["COUCHDB_URL"]}
        return
    print("Starting an embedded server (its first start installs what it needs from npm) ...", flush=True)
    with embedded.server(dialect="3", admin=ADMIN) as found:
        yield {
            "COUCHDB_URL": found.url,
            "COUCHDB_USERNAME": found.username or "",
            "COUCHDB_PASSWORD": found.password or "",
        }


def play(environment: dict[str, str]) -> int:
    """Run the playbook, showing what it prints; return how many tasks changed something. Ends the demo if it fails."""
    command = ["ansible-playbook", PLAYBOOK]
    output = []
    with subprocess.Popen(command, cwd=tree.ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print("  " + line, end="", flush=True)
            output.append(line)
    recap = RECAP.search("".join(output))
    if process.returncode or recap is None:
        sys.exit(f"{PLAYBOOK} failed.")
    return int(recap.group(1))


def main() -> int:
    """Run the demo; return 1 if the second run changed something."""
    start = time.monotonic()
    settings = {
        "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_NOCOWS": "true",
    }
    with server() as address:
        where = address["COUCHDB_URL"]
        environment = {**os.environ, **settings, **address}
        print(f"First run of {PLAYBOOK} on {where}", flush=True)
        first = play(environment)
        print("Second run, which has nothing left to do", flush=True)
        second = play(environment)
    if second:
        print(f"In the second run {second} tasks changed something: this is an error, please report it.")
        return 1
    folder = Path(sys.executable).parent.relative_to(tree.ROOT)
    collections = tree.link().relative_to(tree.ROOT)
    print(
        AFTERWARDS.format(
            first=first, where=where, playbook=PLAYBOOK, admin=ADMIN, folder=folder, collections=collections
        )
    )
    print(f"The demo took {time.monotonic() - start:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
