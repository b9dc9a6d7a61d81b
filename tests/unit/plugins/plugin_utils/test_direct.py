# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running a module in this process: its result is what a process of its own would print, and nothing of it stays here."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import signal
import subprocess
import sys
import typing as t
import warnings
from pathlib import Path

import pytest
from ansible.module_utils import basic
from ansible.module_utils.common import warnings as module_warnings
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import module as engine
from ansible_collections.couchpy.couchdb.plugins.plugin_utils import _direct

OPTIONS = {"_ansible_module_name": "a_module", "_ansible_no_log": True}


def run(main: t.Callable[[], None], folder: Path, **environment: str) -> _direct.Output:
    options = _direct.encode({**OPTIONS, "name": "é"})
    return _direct.run(main, options, environment, str(folder), _direct.Watcher("a task", None))


def state() -> dict[str, t.Any]:
    """All that a module could leave behind in its process."""
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "signals": [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM)],
        "filters": list(warnings.filters),
        "options": basic._ANSIBLE_ARGS,
        "warnings": list(module_warnings._global_warnings),
        "deprecations": list(module_warnings._global_deprecations),
        "streams": (sys.stdout, sys.stderr),
        "descriptors": len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0,
        "watcher": engine.Module.WATCHER,
    }


def untidy() -> None:
    """A module that changes all of it."""
    module = basic.AnsibleModule({"name": {"type": "str"}})
    module.warn("a warning")
    os.environ["COUCHPY_LEFT"] = "x"
    os.environ.pop("PATH")
    os.chdir("/")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.filterwarnings("ignore", "of a module")
    print("to standard error", file=sys.stderr)
    module.exit_json(changed=False, name=module.params["name"], variable=os.environ.get("COUCHDB_URL"))


def test_a_module_runs_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = state()
    ended = run(untidy, tmp_path, COUCHDB_URL="http://h/")
    assert state() == before
    result = json.loads(ended.stdout)
    assert (ended.status, result["name"], result["variable"]) == (0, "é", "http://h/")
    assert "a warning" in json.dumps(result["warnings"])
    assert "to standard error" in ended.stderr


def test_a_process_loads_nothing_that_was_loaded_before_the_fork(tmp_path: Path) -> None:
    """In a process of its own: the other tests have loaded all of this."""
    collections = Path(_direct.__file__).parents[5]
    code = """if True:
        import sys
        from ansible.plugins.loader import filter_loader, init_plugin_loader, test_loader
        init_plugin_loader([sys.argv[1]])
        from ansible_collections.couchpy.couchdb.plugins.plugin_utils import _direct
        from ansible.module_utils import basic
        from ansible_collections.couchpy.couchdb.plugins.module_utils._client.parallel import in_parallel
        before = set(sys.modules)
        filter_loader.get("ansible.builtin.combine")
        test_loader.get("ansible.builtin.match")
        def main():
            basic.AnsibleModule({}).exit_json(changed=True)
        print(_direct.run(main, _direct.encode({}), {}, "/", _direct.Watcher("a task", None)).stdout)
        in_parallel(str, [1, 2, 3])
        print(sorted(set(sys.modules) - before))
    """
    ended = subprocess.run(
        [sys.executable, "-c", code, str(collections)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    result, again = ended.stdout.split("\n\n")[0].strip(), ended.stdout.strip().splitlines()[-1]
    assert json.loads(result)["changed"] is True
    # Ansible's places of plugins hold nothing themselves.
    assert [name for name in ast.literal_eval(again) if not name.endswith((".plugins", ".filter", ".test"))] == []


INTERRUPTED = """if True:
    import os, sys, time
    from ansible.plugins.loader import init_plugin_loader
    init_plugin_loader([sys.argv[1]])
    from ansible_collections.couchpy.couchdb.plugins.plugin_utils import _direct
    ready, told = os.pipe()
    if sys.argv[2] == "unread":
        read, write = os.pipe()
        os.dup2(write, 2)
        os.close(read)
    parent = os.getpid()
    if os.fork() == 0:
        watcher = _direct.Watcher("a task", None)
        with watcher.watching():
            watcher.sending("create x")
            os.write(told, b"!")
            while sys.argv[2] == "orphaned" and os.getppid() == parent:
                time.sleep(0.01)
            watcher.interrupted()
        os._exit(0)
    os.read(ready, 1)
    if sys.argv[2] != "orphaned":
        os.wait()
    os._exit(0)
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="/proc has the standard error of another process")
@pytest.mark.parametrize(("case", "shown"), [("usual", True), ("orphaned", True), ("unread", False)])
def test_an_interrupted_task_shows_what_it_sent_and_ends(case: str, shown: bool) -> None:
    """Also if Ansible has ended before it, and if nothing reads what Ansible writes."""
    collections = Path(_direct.__file__).parents[5]
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(collections), case],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ("a task: interrupted, 1 changes sent: create x" in ended.stderr) is shown


def test_values_that_a_module_leaves_to_ansible_are_masked_by_it(tmp_path: Path) -> None:
    def main() -> None:
        module = basic.AnsibleModule({"name": {"type": "str"}})
        module.no_log_values = {"canary"}
        module.exit_json(said="a canary", left=["canary"])

    # ansible-core 2.22 masks what is shown, not what a module returns.
    masks_results = importlib.util.find_spec("ansible.module_utils.secrets") is None
    said = json.loads(run(main, tmp_path).stdout)
    assert ("canary" in json.dumps([said["said"], said["left"]])) is not masks_results


def test_relative_paths_begin_in_the_given_folder(tmp_path: Path) -> None:
    def main() -> None:
        basic.AnsibleModule({"name": {"type": "str"}}).exit_json(folder=os.getcwd())

    assert json.loads(run(main, tmp_path).stdout)["folder"] == str(tmp_path)


def test_a_failure_is_a_result(tmp_path: Path) -> None:
    def main() -> None:
        basic.AnsibleModule({"name": {"type": "int"}})

    before = state()
    ended = run(main, tmp_path)
    assert state() == before
    assert ended.status == 1
    assert json.loads(ended.stdout)["failed"]


@pytest.mark.parametrize("error", [ValueError("a fault"), None])
def test_a_fault_ends_as_that_of_a_process_does(tmp_path: Path, error: Exception | None) -> None:
    """A module that raises, or that ends without a result: in neither case does the error reach Ansible's process."""

    def main() -> None:
        if error is not None:
            raise error

    before = state()
    ended = run(main, tmp_path)
    assert state() == before
    assert ended.status == 1
    assert "a fault" in ended.stdout + ended.stderr or error is None
    assert "did not end with a result" in ended.stdout + ended.stderr or error is not None


class Timeout(BaseException):
    """What Ansible raises when a task takes too long."""


def test_what_ends_the_task_is_not_caught(tmp_path: Path) -> None:
    def main() -> None:
        raise Timeout

    before = state()
    with pytest.raises(Timeout):
        run(main, tmp_path)
    assert state() == before


def test_progress_is_shown_every_few_seconds() -> None:
    shown: list[str] = []
    watcher = _direct.Watcher("a task [h]", shown.append)
    for waited in (0, 1, 4.9, 5.1, 9, 10.2, 12, 15.3):
        watcher.progress("the views", "70 %", waited)
        watcher.progress("another", "", waited)
    assert shown == [f"a task [h]: waiting for the views: 70 % ({seconds} s)" for seconds in (5, 10, 15)]
    _direct.Watcher("a task [h]", None).progress("the views", "70 %", 100)


@pytest.mark.parametrize(
    ("interpreter", "same"),
    [
        (sys.executable, True),
        (os.path.join(os.path.dirname(sys.executable), ".", os.path.basename(sys.executable)), True),
        ("/usr/bin/env python", False),
        ("python3", False),
        ("/nowhere/python3", False),
    ],
)
def test_which_python_has_the_libraries_of_this_one(interpreter: str, same: bool) -> None:
    assert _direct.is_this_python(interpreter) is same


def test_a_link_to_this_python_from_elsewhere_has_other_libraries(tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(os.path.realpath(sys.executable))
    assert not _direct.is_this_python(str(tmp_path / "python3"))
