# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Runs the playbooks of this directory with ansible-playbook, and keeps everything that could show a secret."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tree

PLAYS = Path(__file__).resolve().parent / "plays"
PROC = Path("/proc")

# Python runs this when it starts. It redirects the messages of a module to syslog or the journal to a file.
SITECUSTOMIZE = """\
import os
import sys
import syslog


def write(*words):
    with open(os.environ["COUCHPY_TEST_SYSLOG"], "a", encoding="utf-8", errors="replace") as file:
        file.write(" ".join(map(str, words)) + "\\n")


syslog.syslog = write
sys.modules["systemd"] = sys.modules["systemd.journal"] = None
"""


@dataclass
class Run:
    """One run of a playbook: how it ended, and what was written where."""

    returncode: int
    output: str
    command_lines: set[str]

    @property
    def recap(self) -> dict[str, int]:
        """The numbers of tasks that were ok, changed, failed, ..., of the only host."""
        line = self.output.rpartition("PLAY RECAP")[2]
        return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line)}


class Ansible:
    """ansible-playbook with this collection, writing only below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._python = folder / "python"
        self._python.mkdir()
        (self._python / "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
        (folder / "ansible.cfg").touch()
        self.log = folder / "ansible.log"
        self.facts = folder / "facts"
        self.syslog = folder / "syslog"

    def play(
        self,
        name: str,
        variables: Mapping[str, Any],
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        seconds: int = 600,
    ) -> Run:
        """Run a playbook. The variables are in a file, as everybody can read command lines."""
        given = self._folder / "variables.json"
        given.write_text(json.dumps(variables), encoding="utf-8")
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("--inventory", "localhost,", "--connection", "local"),
            *("--extra-vars", f"@{given}"),
            *arguments,
            str(PLAYS / name),
        ]
        with _watch() as command_lines:
            ended = subprocess.run(
                command,
                cwd=self._folder,
                env={**os.environ, **self._environment(), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
                check=False,
            )
        assert "[DEPRECATION WARNING]" not in ended.stdout, ended.stdout
        return Run(ended.returncode, ended.stdout, command_lines)

    def _environment(self) -> dict[str, str]:
        return {
            "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.facts),
            "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
            "ANSIBLE_CONFIG": str(self._folder / "ansible.cfg"),
            "ANSIBLE_FORCE_COLOR": "false",
            "ANSIBLE_HOME": str(self._folder / "home"),
            # From ansible-core 2.21 on, a result has the arguments of its module only where that is asked for.
            "ANSIBLE_INJECT_INVOCATION": "true",
            "ANSIBLE_LOG_PATH": str(self.log),
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "COUCHPY_TEST_SYSLOG": str(self.syslog),
            "PYTHONPATH": str(self._python),
        }


@contextlib.contextmanager
def _watch() -> Iterator[set[str]]:
    """Collect the command lines of all visible processes meanwhile, if the system has /proc."""
    seen: set[str] = set()
    stopped = threading.Event()

    def look() -> None:
        while not stopped.wait(0.02):
            for process in PROC.glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    seen.add((process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))

    watcher = threading.Thread(target=look, name="process-list", daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        stopped.set()
        watcher.join()
