# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Direct execution: runs a module in Ansible's own process, as if it had been sent to this host.

A module that is sent to the controller itself is packed, written, started in a Python of its own and compiled again, which takes ten
times as long as the module itself. Here its ``main()`` is called in the process that Ansible forks for the task, with everything
imported before the fork. It reads its options and prints its result as usual, so that Ansible handles both the same way.

This file is imported before the fork, and loads what the processes would each load again: Ansible's filters and tests, and the
profiles of its JSON.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import sys
import syslog
import traceback
import typing as t
import warnings

from ansible.module_utils import basic
from ansible.module_utils.common import warnings as module_warnings
from ansible.plugins.loader import filter_loader, test_loader
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import HAS_REQUESTS, Module

try:
    from ansible.module_utils import _internal
    from ansible.module_utils._internal._ansiballz import _loader
    from ansible.module_utils.common.json import Direction, get_module_encoder

    _PROFILE: str | None = "legacy"
except ImportError:
    # ansible-core 2.18
    _PROFILE = None


def _load_what_each_process_needs() -> None:
    # With one of Ansible's, all of them are loaded.
    filter_loader.get("ansible.builtin.bool")
    test_loader.get("ansible.builtin.failed")
    for direction in () if _PROFILE is None else Direction:
        get_module_encoder(_PROFILE, direction)


_load_what_each_process_needs()

ENVIRONMENT = frozenset(
    [
        "COUCHDB_URL",
        "COUCHDB_USERNAME",
        "COUCHDB_PASSWORD",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NO_PROXY",
        "no_proxy",
    ]
    + [f"{scheme}_proxy" for scheme in ("http", "https", "all")]
    + [f"{scheme}_PROXY" for scheme in ("HTTP", "HTTPS", "ALL")]
)
"""The variables that a module reads while it runs. Others may affect the start of a process, such as those of Python."""


INTERVAL = 5
"""Seconds between two lines of progress, at least. A wait reports every 5 seconds at least, so that no gap is longer than 10."""

LISTED = 20
"""The number of changes that an interrupted task lists."""


class Watcher:
    """Shows what a task does while it runs: what it waits for, and when it is interrupted, what it has sent.

    ``where``: the task and its host. ``display``: shows a line; None for no progress.
    """

    def __init__(self, where: str, display: t.Callable[[str], None] | None) -> None:
        self._where = where
        self._display = display
        self._shown: dict[str, float] = {}
        self._sent: list[str] = []
        self._stderr: int | None = None

    @property
    def shows(self) -> bool:
        """Whether it shows progress."""
        return self._display is not None

    def progress(self, what: str, lacking: str, waited: float) -> None:
        """Show that the task waits for ``what``, unless nothing is lacking or a line was just shown."""
        if self._display is not None and lacking and waited - self._shown.get(what, 0) >= INTERVAL:
            self._shown[what] = waited
            self._display(f"{self._where}: waiting for {what}: {lacking} ({waited:.0f} s)")

    def sending(self, change: str) -> None:
        """Remember a change that is sent."""
        self._sent.append(change)

    def interrupted(self) -> None:
        """Write what was sent to the standard error of Ansible, which is ending and no longer displays anything."""
        if self._stderr is None:
            return
        sent = f"{len(self._sent)} changes sent: {', '.join(self._sent[:LISTED])}" if self._sent else "no changes sent"
        more = f" and {len(self._sent) - LISTED} more" if len(self._sent) > LISTED else ""
        with contextlib.suppress(OSError):
            os.write(self._stderr, f"{self._where}: interrupted, {sent}{more}\n".encode(errors="replace"))

    @contextlib.contextmanager
    def watching(self) -> t.Iterator[None]:
        """Handle the signals that end this process, before its other handlers."""
        with contextlib.ExitStack() as stack:
            # Now, as Ansible may end first. Without O_NONBLOCK, a pipe that nothing reads from any more could not be opened, ever.
            flags = os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK
            with contextlib.suppress(OSError):
                self._stderr = os.open(f"/proc/{os.getppid()}/fd/2", flags)
                stack.callback(self._close)
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(number)
                if before is not None:
                    stack.callback(signal.signal, number, before)
                    signal.signal(number, functools.partial(self._end, before))
            yield

    def _close(self) -> None:
        descriptor, self._stderr = self._stderr, None
        os.close(t.cast(int, descriptor))

    def _end(self, before: t.Any, number: int, frame: t.Any) -> None:
        self.interrupted()
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


class Built:
    """A module as ActionBase gets it from its builder: for direct execution, its options, and no code."""

    module_style = "new"
    shebang = f"#!{sys.executable}"
    serialization_profile = _PROFILE
    has_async = has_become = has_environment = False
    process_result = None

    def __init__(self, options: bytes) -> None:
        self.b_module_data = options

    def get_command_args(self, module_path: str | None) -> None:
        """No command: the options are the input of a Python."""


class Output(t.NamedTuple):
    """The result of a process: exit status, standard output and standard error."""

    status: int
    stdout: str
    stderr: str


def encode(options: dict[str, t.Any]) -> bytes:
    """The options as a module gets them from Ansible. Raises TypeError or ValueError for values that JSON can't represent."""
    given = {"ANSIBLE_MODULE_ARGS": options}
    if _PROFILE is None:
        from ansible.module_utils.common.json import AnsibleJSONEncoder

        return json.dumps(given, cls=AnsibleJSONEncoder, vault_to_text=True).encode()
    return json.dumps(given, cls=get_module_encoder(_PROFILE, Direction.CONTROLLER_TO_MODULE)).encode()


def built(options: bytes, path: str) -> t.Any:
    """What ActionBase._configure_module() returns for a module with these options, whose file this is."""
    module = Built(options)
    if _PROFILE is None:
        return module.module_style, module.shebang, options, path
    return module, path


def has_libraries() -> bool:
    """Whether this Python has the libraries that the modules need."""
    return HAS_REQUESTS


def run(
    main: t.Callable[[], None], encoded: bytes, environment: dict[str, str], folder: str, watcher: Watcher
) -> Output:
    """Call a module's ``main()`` with these options, in this folder, with these variables added to the environment.

    The module's changes of the process are undone. Errors end as in a process of its own. ``watcher`` is informed of
    what the module does.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    status: t.Any = 0
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), _isolated(
        encoded, environment, folder, watcher
    ):
        try:
            try:
                main()
                raise RuntimeError("The module did not end with a result.")
            except Exception as error:
                if _PROFILE is None:
                    traceback.print_exc()
                    status = 1
                else:
                    _loader._handle_exception(error, _PROFILE)
        except SystemExit as end:
            status = end.code
    return Output(status if isinstance(status, int) else int(status is not None), stdout.getvalue(), stderr.getvalue())


@contextlib.contextmanager
def _isolated(encoded: bytes, environment: dict[str, str], folder: str, watcher: Watcher) -> t.Iterator[None]:
    """Make this process look like a new one for AnsibleModule, and restore it afterwards."""
    variables, handler = dict(os.environ), signal.getsignal(signal.SIGUSR1)
    with contextlib.ExitStack() as stack:
        stack.callback(syslog.closelog)
        stack.callback(signal.signal, signal.SIGUSR1, handler)
        with contextlib.suppress(OSError):
            stack.callback(os.chdir, os.getcwd())
        stack.callback(_set_environment, variables)
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_set(basic, _ANSIBLE_ARGS=encoded))
        # Before 2.22, ansible-core copies each result to mask it, even if Module has done that and leaves no values to mask.
        if hasattr(basic, "remove_values"):
            stack.enter_context(_set(basic, remove_values=functools.partial(_masked, basic.remove_values)))
        stack.enter_context(_set(Module, WATCHER=watcher))
        stack.enter_context(watcher.watching())
        if _PROFILE is None:
            stack.enter_context(_set(module_warnings, _global_warnings=[], _global_deprecations=[]))
        else:
            stack.enter_context(_set(basic, _ANSIBLE_PROFILE=_PROFILE, _PARSED_MODULE_ARGS=None))
            stack.enter_context(_set(module_warnings, _global_warnings={}, _global_deprecations={}))
            # On the controller, warnings would be displayed at once. A module returns them with its result.
            stack.enter_context(_set(_internal, is_controller=False))
        os.environ.update(environment)
        os.chdir(folder)
        yield


def _masked(mask: t.Callable[[t.Any, t.Collection[str]], t.Any], result: t.Any, values: t.Collection[str]) -> t.Any:
    return mask(result, values) if values else result


def _set_environment(variables: dict[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)


@contextlib.contextmanager
def _set(module: t.Any, **values: t.Any) -> t.Iterator[None]:
    """Set these values in a Python module, and restore them afterwards."""
    before = {name: getattr(module, name) for name in values}
    try:
        for name, value in values.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def is_this_python(interpreter: str) -> bool:
    """Whether this interpreter is the one that runs Ansible, with the same libraries."""
    if not os.path.isabs(interpreter):
        return False
    # The place of a virtual environment decides its libraries; all of them link to the same Python.
    return _place(interpreter) == _place(sys.executable)


def _place(interpreter: str) -> tuple[str, str]:
    return os.path.realpath(os.path.dirname(interpreter)), os.path.realpath(interpreter)
