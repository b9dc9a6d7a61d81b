# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the integration targets for one ansible-core: ``integration.py CORE SERVER... [-- ARGUMENT...]``.

A server is a dialect, which gets an embedded server of its own, or the word COUCHDB_URL: the server
of that environment variable, as COUCHDB_USERNAME and COUCHDB_PASSWORD. Arguments after ``--`` go to ansible-test: a
target's name runs that target alone.

The modules are carried out directly; tests/plays/test_targets.py compares that with modules.
On the newest ansible-core of this machine a deprecation warning is a failure.

Targets that need a cluster get one beside that server: three embedded nodes, which start apart, or those that
COUCHDB_CLUSTER_URLS lists, with the same name and password.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import time
import urllib.request
from pathlib import Path

import tree

sys.path.insert(0, str(tree.ROOT / "tests/server"))

import embedded
import pythons

ADMIN = "admin:secret"
EXTERNAL = "COUCHDB_URL"

# What is left out where, so that the whole takes minutes: everything runs on the newest ansible-core and CouchDB 3.4. The
# refusals need no server's answer. What another ansible-core could do otherwise shows in the life of each thing; CouchDB
# 1.x is met in depth as well, on one ansible-core.
NEWEST = pythons.newest()
EVERYTHING = (NEWEST, "3")
DEEP_DIALECT = "1"

DEPRECATED = re.compile(r"\[DEPRECATION WARNING\]|DeprecationWarning: ")

# Each Python of the environment runs this when it starts. ansible-test switches Ansible's warnings off, and Python's are
# off unless they are requested.
WARN = """\
import os, warnings; \
os.environ.update(ANSIBLE_DEPRECATION_WARNINGS="true") if "ANSIBLE_DEPRECATION_WARNINGS" in os.environ else None; \
warnings.filterwarnings("error", category=DeprecationWarning, module="ansible_collections[.]couchpy")
"""

# The targets that need nodes to make a cluster of. CouchDB 1.x has no nodes: there they see that this is said.
OF_CLUSTERS = {"couchdb_cluster", "couchdb_restart", "couchdb_shards"}
NODES = 3


def run_targets(
    core: str,
    arguments: list[str],
    *,
    place: str,
    url: str,
    username: str,
    password: str,
    dialect: str,
    cluster_urls: list[str],
) -> bool:
    """Run the targets on a server; return whether they passed.

    The targets find the server in integration_config.yml, which ansible-test hands to them.
    """
    config: dict[str, object] = {
        "couchdb_url": url,
        "couchdb_username": username,
        "couchdb_password": password,
        "couchdb_dialect": dialect,
        "couchdb_cluster_urls": cluster_urls,
        # ansible-test limits the open files of modules, and where they are limited, no task is carried out directly.
        "ansible_python_module_rlimit_nofile": 0,
    }
    with tree.reserved(f"integration-{core}-{place}") as name:
        return run_copy(name, core, arguments, config)


def run_copy(name: str, core: str, arguments: list[str], config: dict[str, object]) -> bool:
    """Run the targets in a copy of the collection that is called so; return whether they passed."""
    collection = tree.copy(name)
    home = tree.CACHE / "home" / name
    home.mkdir(parents=True, exist_ok=True)
    path = collection / "tests/integration/integration_config.yml"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    command = ["ansible-test", "integration", "--local", "--color", "no", *arguments]
    environment = {**os.environ, "HOME": str(home)}
    print("Running", *command, flush=True)
    deprecated = []
    try:
        with subprocess.Popen(
            command, cwd=collection, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                if DEPRECATED.search(line):
                    deprecated.append(line)
    finally:
        path.unlink()
    if core == NEWEST and deprecated:
        print("Deprecated:", *deprecated, sep="\n")
        return False
    return process.returncode == 0


def run_embedded(core: str, arguments: list[str], dialect: str) -> bool:
    """Run the targets on an embedded server; return whether they passed."""
    if not arguments:
        left_out = "refusals" if core == NEWEST or dialect == DEEP_DIALECT else "refusals,depth"
        arguments = [] if (core, dialect) == EVERYTHING else ["--skip-tags", left_out]
    print(f"Starting the embedded server in dialect {dialect}", flush=True)
    with contextlib.ExitStack() as servers:
        server = servers.enter_context(embedded.server(dialect=dialect, admin=ADMIN))
        cluster_urls = []
        if dialect != "1" and needs_cluster(arguments):
            print(f"Starting {NODES} nodes to make a cluster of", flush=True)
            cluster_urls = servers.enter_context(embedded.server(dialect=dialect, admin=ADMIN, nodes=NODES)).urls
        return run_targets(
            core,
            arguments,
            place=dialect,
            url=server.url,
            username=server.username or "",
            password=server.password or "",
            dialect=dialect,
            cluster_urls=cluster_urls,
        )


def needs_cluster(arguments: list[str]) -> bool:
    """Whether the arguments of ansible-test name a target that needs a cluster, or no target at all."""
    named = {argument for argument in arguments if re.match(r"(couchdb|password)_\w+$", argument)}
    return not named or bool(named & OF_CLUSTERS)


def run_external(core: str, arguments: list[str]) -> bool:
    """Run the targets on the server that COUCHDB_URL names; return whether they passed."""
    server = {name: os.environ.get(f"COUCHDB_{name.upper()}", "") for name in ("url", "username", "password")}
    cluster_urls = os.environ.get("COUCHDB_CLUSTER_URLS", "").split()
    return run_targets(
        core, arguments, place=EXTERNAL, **server, dialect=dialect_of(**server), cluster_urls=cluster_urls
    )


def dialect_of(url: str, username: str, password: str) -> str:
    """Ask a server for its version; return the dialect of the embedded server that is most like it."""
    credentials = base64.b64encode(f"{username}:{password}".encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {credentials}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        version = json.load(answer)["version"]
    major, minor = (int(part) for part in version.split(".")[:2])
    if major < 2:
        return "1"
    return "3" if (major, minor) >= (3, 4) else "3.3"


def main() -> int:
    """Run on each server in turn, show which passed, and return 1 if any didn't."""
    given = sys.argv[1:]
    split = given.index("--") if "--" in given else len(given)
    core, *servers = given[:split]
    arguments = given[split + 1 :]
    if core == NEWEST:
        Path(sysconfig.get_path("purelib"), "couchpy_deprecations.pth").write_text(WARN)
    results = []
    for name in servers:
        start = time.monotonic()
        passed = run_external(core, arguments) if name == EXTERNAL else run_embedded(core, arguments, name)
        results.append((passed, f"ansible-core {core} on {name}: {time.monotonic() - start:.0f} s"))
    for passed, text in results:
        print("passed" if passed else "FAILED", text)
    return 0 if all(passed for passed, text in results) else 1


if __name__ == "__main__":
    sys.exit(main())
