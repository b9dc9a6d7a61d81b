# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Runs a module as Ansible does, from its options to the JSON that it prints, in this process or in a separate one.

Run as a script it is that process: it reads the module's name and options, waits for a line, and reports how it ended.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COLLECTION = "ansible_collections.couchpy.couchdb"


@dataclass
class Run:
    """How a run of a module ended: its ``result``, the ``seconds`` it took, and the traceback of a crash.

    ``kilobytes`` is the most memory that its process had, when it had one of its own.
    """

    result: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    crash: str = ""
    output: str = ""
    kilobytes: int = 0

    @property
    def failed(self) -> bool:
        """Whether the module said that it failed."""
        return bool(self.result.get("failed"))

    @property
    def message(self) -> str:
        """Its error message."""
        return str(self.result.get("msg", ""))


def run(
    module: str, options: dict[str, Any], *, check_mode: bool = False, verbosity: int = 0, no_log: bool = False
) -> Run:
    """Run a module in this process."""
    from ansible.module_utils import basic
    from ansible.module_utils.common import warnings

    internal = {
        "_ansible_check_mode": check_mode,
        "_ansible_diff": True,
        "_ansible_verbosity": verbosity,
        "_ansible_no_log": no_log,
    }
    given = {**internal, **options}
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode()
    # ansible-core 2.19 and later need the format of the options.
    basic._ANSIBLE_PROFILE = "legacy"
    # Ansible caches them for the life of the process, which is that of one module.
    warnings._global_warnings.clear()
    main = importlib.import_module(f"{COLLECTION}.plugins.modules.{module}").main
    ended = Run()
    said = io.StringIO()
    begun = time.monotonic()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit:
            pass
        except BaseException:
            ended.crash = traceback.format_exc()
    ended.seconds = time.monotonic() - begun
    ended.output = said.getvalue()
    with contextlib.suppress(ValueError):
        before, _line, last = ended.output.strip().rpartition("\n")
        ended.result = json.loads(last)
        # How a module of ansible-core 2.22 names its secrets to the controller, which then redacts them; nobody sees it.
        if ended.result.pop("_ansible_new_secrets", None) is not None:
            ended.output = f"{before}\n{json.dumps(ended.result)}\n"
    return ended


@contextlib.contextmanager
def processes(
    count: int, module: str, options: dict[str, Any], **environment: str
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start processes that wait for ``begin()`` to run the module."""
    import os

    import tree

    path = [str(tree.link()), *sys.path]
    started = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": ":".join(path), **environment},
        )
        for _number in range(count)
    ]
    try:
        for process in started:
            assert process.stdin
            process.stdin.write(json.dumps({"module": module, "options": options}) + "\n")
            process.stdin.flush()
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def begin(process: subprocess.Popen[str]) -> None:
    """Let a process run its module."""
    assert process.stdin
    process.stdin.write("begin\n")
    process.stdin.flush()


def ended(process: subprocess.Popen[str], seconds: float = 60) -> Run:
    """The run of the module in a process."""
    output, _nothing = process.communicate(timeout=seconds)
    return Run(**json.loads(output))


def main() -> None:
    """Run one module in this process."""
    asked = json.loads(sys.stdin.readline())
    importlib.import_module(f"{COLLECTION}.plugins.modules.{asked['module']}")
    print("ready", flush=True)
    sys.stdin.readline()
    done = run(asked["module"], asked["options"])
    # Not getrusage(), which counts the memory of the process that this one was forked from.
    done.kilobytes = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1))
    print(json.dumps(done.__dict__))


if __name__ == "__main__":
    main()
