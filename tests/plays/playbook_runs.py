# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs playbooks as users do, and gives the results of their tasks as data that can be compared from run to run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "tools"))

import tree


@dataclass
class Ended:
    """A run of ansible-playbook: its exit status, what it printed, and each task's result by the task's name."""

    status: int
    printed: str
    results: dict[str, dict[str, t.Any]]


class Plays:
    """Runs plays in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(
        self,
        play: dict[str, t.Any],
        *arguments: str,
        environment: t.Mapping[str, str] | None = None,
        timeout: float = 240,
    ) -> Ended:
        """Run one play, on localhost unless it names other hosts."""
        playbook, kept = self.folder / "play.json", self.folder / "results.jsonl"
        kept.unlink(missing_ok=True)
        playbook.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, **play}]))
        command, variables = self.command(str(playbook), *arguments)
        ended = subprocess.run(
            command,
            env={**variables, **(environment or {})},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert "[DEPRECATION WARNING]" not in ended.stdout, ended.stdout
        lines = kept.read_text().splitlines() if kept.exists() else []
        results = {line["task"]: line["result"] for line in map(json.loads, lines)}
        return Ended(ended.returncode, ended.stdout, results)

    def command(self, playbook: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """The command that runs a playbook, and its environment."""
        given = {name: value for name, value in os.environ.items() if not name.startswith(("COUCHDB_", "ANSIBLE_"))}
        environment = {
            **given,
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "results",
            "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_INJECT_INVOCATION": "true",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "COUCHPY_RESULTS": str(self.folder / "results.jsonl"),
        }
        inventory = () if "-i" in arguments else ("-i", "localhost,")
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        return [program, *inventory, playbook, *arguments], environment


# What differs from run to run, and its replacement.
PASSING = [
    # Also in a regular expression.
    (r"(127\\?\.0\\?\.0\\?\.1|localhost):\d{4,5}", "HOST:PORT"),
    (r"\b[0-9a-f]{32}\b", "HEX"),
    (r"\b[0-9a-f]{64}\b", "HEX"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME"),
    (r"\d{4}-\d\d-\d\d", "DATE"),
    (r"/\S*(documents-\d+\.json)", r"FOLDER/\1"),
    (r"/\S*/(direct|module)/", "FOLDER/"),
    (r"couchdb-embedded-\w+", "couchdb-embedded"),
    (r"/tmp/ansible\.\w+", "TEMPORARY"),
    (r"'(start|end|delta)': '[^']*'", "TIME"),
]
COUNTED = {
    *("instance_start_time", "update_seq", "purge_seq", "sizes", "uptime", "doc_count", "disk_size", "data_size"),
    *("source_seq", "through_seq", "checkpointed_source_seq", "changes_pending", "started_on", "updated_on"),
    *("session_id", "source_last_seq", "start_last_seq", "end_last_seq", "recorded_seq", "compact_running", "pid"),
}


def settled(value: t.Any) -> t.Any:
    """A result without what differs from run to run."""
    if isinstance(value, dict):
        # How far CouchDB has come with a replication at that moment.
        passing = {*COUNTED, "state", "info"} if {"source", "target", "state", "info"} <= set(value) else COUNTED
        named = {settled(name): "COUNTED" if name in passing else settled(item) for name, item in value.items()}
        assert len(named) == len(value), f"these keys can't be told apart: {list(value)}"
        return named
    if isinstance(value, list):
        return [settled(item) for item in value]
    if isinstance(value, str):
        for pattern, stands in PASSING:
            value = re.sub(pattern, stands, value)
    return value
