# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rooms of docs/architecture.md: imports point one way, and each room keeps to its work."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[3] / "plugins"
UTILS = sorted(path.stem for path in (PLUGINS / "module_utils").glob("*.py"))
MODULES = sorted((PLUGINS / "modules").glob("*.py"))
PREFIX = "ansible_collections.couchpy.couchdb.plugins.module_utils"

# What each room may import of ours, besides errors. A room that is not here may import none.
BELOW: dict[str, set[str]] = {
    "_names": set(),
    "_cluster": {"_names"},
    "_secrets": set(),
    "_passwords": {"_names"},
    "_settings": {"_names"},
    "_users": {"_names", "_passwords", "_secrets"},
    "_replications": {"_dialect", "_names", "_secrets", "_selectors"},
    "_couchapp": set(),
    "_documents": {"_couchapp", "_names"},
    "_plan": {"_secrets"},
    "_restart": set(),
    "_admins": {"_dialect", "_passwords", "_plan"},
    "_databases": {"_dialect", "_names", "_plan"},
    "_dialect": {"_passwords"},
    "_selectors": set(),
    "_indexes": {"_selectors"},
    "_http": {"_secrets"},
    "_lazy": set(),
    "_rolling": {"_dialect", "_restart", "client"},
    "database": {"_documents", "_http", "_indexes", "_lazy", "client"},
    "client": {
        "_cluster",
        "_dialect",
        "_http",
        "_lazy",
        "_names",
        "_passwords",
        "_replications",
        "_restart",
        "_rolling",
        "_settings",
        "_users",
        "database",
    },
    "_module": {"_http", "_plan", "_secrets", "client"},
}
PURE = {
    "_admins",
    "_cluster",
    "_couchapp",
    "_databases",
    "_dialect",
    "_documents",
    "_indexes",
    "_names",
    "_passwords",
    "_plan",
    "_replications",
    "_restart",
    "_secrets",
    "_selectors",
    "_settings",
    "_users",
}

# What few modules need is imported when it is first used.
LAZY = {"_cluster", "_documents", "_indexes", "_replications", "_restart", "_rolling", "_selectors"}


def imported(path: Path) -> set[str]:
    """The names of the rooms that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            module = (node.module or "").removeprefix(PREFIX).lstrip(".")
            if node.level or (node.module or "").startswith(PREFIX):
                found.update([module] if module else [alias.name for alias in node.names])
            else:
                found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
    return found


@pytest.mark.parametrize("room", UTILS)
def test_imports_point_down(room: str) -> None:
    ours = imported(PLUGINS / "module_utils" / f"{room}.py") & set(UTILS)
    assert ours - {"errors"} <= BELOW.get(room, set())


@pytest.mark.parametrize("room", sorted(PURE))
def test_pure_rooms_touch_no_network_and_no_ansible(room: str) -> None:
    assert not imported(PLUGINS / "module_utils" / f"{room}.py") & {"requests", "ansible", "socket", "urllib3"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_sends_no_request_and_fails_in_no_own_way(path: Path) -> None:
    assert not imported(path) & {"requests", "ansible", "_http"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("fail_json", "exit_json", "request"), f"line {node.lineno}"


def test_an_action_plugin_does_nothing_but_read_files() -> None:
    for path in (PLUGINS / "action").glob("*.py"):
        assert imported(path) & {*UTILS, "requests"} <= {"_couchapp", "errors"}
        assert path.stem in {module.stem for module in MODULES}


def test_only_the_engine_knows_ansible() -> None:
    knowing = [room for room in UTILS if "ansible" in imported(PLUGINS / "module_utils" / f"{room}.py")]
    assert knowing == ["_module"]


def test_only_http_knows_requests() -> None:
    knowing = [room for room in UTILS if "requests" in imported(PLUGINS / "module_utils" / f"{room}.py")]
    assert knowing == ["_http"]


def test_a_task_compiles_no_room_that_it_does_not_use() -> None:
    program = (
        "import sys, ansible_collections.couchpy.couchdb.plugins.modules.couchdb_database\n"
        "print(*(name.rpartition('.')[2] for name in sys.modules if '.plugins.module_utils.' in name))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert {"client", "database", "_lazy"} <= set(run.stdout.split())
    assert not LAZY & set(run.stdout.split())


@pytest.mark.parametrize("room", ["client", "database"])
def test_ansible_finds_the_rooms_that_are_imported_later(room: str) -> None:
    source = (PLUGINS / "module_utils" / f"{room}.py").read_text()
    later = set(re.findall(r'"(_\w+)"', source[source.index("map(Lazy") :].partition("\n")[0]))
    assert later
    assert later <= imported(PLUGINS / "module_utils" / f"{room}.py") & LAZY
