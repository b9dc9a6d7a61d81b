# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the playbooks of the collection by name, as their users do, on embedded servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "tools")]

import tree

PASSWORD = "admin-canary"


@dataclass
class Ended:
    """A run of ansible-playbook: its exit status and what it printed."""

    status: int
    printed: str


class Runs:
    """Runs playbooks by name in a folder of their own, with an inventory there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = folder / "inventory"

    def hosts(self, hosts: dict[str, dict[str, Any]], group: str = "couchdb", **common: Any) -> None:
        """Write the inventory: hosts with their variables, and those that all have."""
        self.inventory.mkdir(exist_ok=True)
        shared = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "couchdb_admin_password": PASSWORD,
            **common,
        }
        content = {group: {"hosts": hosts, "vars": shared}}
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump(content))

    def run(self, playbook: str, *options: str, **extra: Any) -> Ended:
        """Run a playbook; ``extra`` are extra variables."""
        given = {name: value for name, value in os.environ.items() if not name.startswith(("COUCHDB_", "ANSIBLE_"))}
        ended = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                f"couchpy.couchdb.{playbook}",
                "--inventory",
                str(self.inventory),
                "--extra-vars",
                json.dumps(extra),
                *options,
            ],
            env={
                **given,
                "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
                "ANSIBLE_HOME": str(self.folder / "home"),
                "ANSIBLE_NOCOLOR": "true",
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
                # The report goes to a directory relative to this one.
                "PWD": str(self.folder),
            },
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=360,
            check=False,
        )
        assert PASSWORD not in ended.stdout
        return Ended(ended.returncode, ended.stdout)
