# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action plugin of every module: checks where the task's options come from, and runs the module.

A task with a local connection runs in Ansible's own process, see _direct. Others run the module like
ansible.builtin.normal. Both return the same result.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import sys
import tempfile
import threading
import typing as t
from types import ModuleType

from ansible import constants as C
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import LOGIN
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.progress import VARIABLE as VARIABLE_OF_FILE
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput
from ansible_collections.couchpy.couchdb.plugins.plugin_utils import _direct, _progress

VARIABLE = "couchdb_direct"
SWITCH = "ANSIBLE_COUCHDB_DIRECT"
"""The variable and the environment variable that switch direct execution off."""

PROGRESS = "ANSIBLE_COUCHDB_PROGRESS"
"""The environment variable that switches progress off."""

_LOCAL = (
    "local",
    # With ansible-core 2.22, the later items of a loop have the last of these.
    *(f"ansible.{owner}.local" for owner in ("builtin", "legacy")),
    *(f"ansible_collections.ansible.{owner}.plugins.connection.local" for owner in ("builtin", "legacy")),
)

_FOR_PEOPLE = frozenset(["default", "minimal", "oneline"])
"""The callbacks of Ansible whose output is read by people. That of others, such as JSON, stays as it is: progress goes to standard error."""

display = Display()

Variables = t.Dict[str, t.Any]


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core has no types
    """Runs the module of the same name."""

    MODULE: ModuleType | None = None
    """The module; None for one that never runs directly. Ansible loads the plugin before it forks a process for each task, which has it then."""

    _supports_async = True
    _supports_check_mode = True
    _supports_diff = True

    _environment: dict[str, str] | None = None
    """The task's environment, while the module runs in this process; else None."""

    def __init__(self, *arguments: t.Any, **options: t.Any) -> None:
        super().__init__(*arguments, **options)
        self._files: list[str] = []
        self._watcher = _direct.Watcher("", None)
        #: The name of the file in which a module on a host writes what it waits for.
        self._progress_file = ""

    def run(self, tmp: str | None = None, task_vars: Variables | None = None) -> dict[str, t.Any]:
        """Run the task. https://docs.ansible.com/ansible/latest/dev_guide/developing_plugins.html#action-plugins"""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        refused = self._refused_defaults()
        if refused:
            return {**result, "failed": True, "changed": False, "msg": refused}
        variables = task_vars or {}
        environment: dict[str, str] = {}
        host = variables.get("inventory_hostname")
        try:
            obstacle = self._obstacle(variables, environment)
            self._watcher = self._make_watcher(host)
            if obstacle:
                display.vvv(f"{self._task.action}: running the module, as {obstacle}", host=host)
                result.update(self._run_module(variables))
            else:
                display.vvv(f"{self._task.action}: direct execution in this process", host=host)
                result.update(self._run_directly(variables, environment))
        except InvalidInput as error:
            # Like a failure of the module: an exception would not reach failed_when on ansible-core 2.21 and later.
            return {**result, "failed": True, "changed": False, "msg": str(error)}
        return result

    def _run_module(self, task_vars: Variables) -> dict[str, t.Any]:
        in_background = self._task.async_val and not self._connection.has_native_async
        with contextlib.ExitStack() as stack:
            if self._watcher.shows and not self._task.async_val and _progress.can_show(self._connection):
                self._progress_file = _progress.new_name()
                stack.enter_context(_progress.shown(self, self._progress_file, self._watcher.progress))
            result: dict[str, t.Any] = self._execute_module(
                module_args=self._arguments(), task_vars=task_vars, wrap_async=in_background
            )
        if not in_background:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _compute_environment_string(self, raw_environment_out: dict[str, t.Any] | None = None) -> t.Any:
        given = {} if raw_environment_out is None else raw_environment_out
        computed = super()._compute_environment_string(given)
        if not self._progress_file:
            return computed
        given[VARIABLE_OF_FILE] = self._progress_file
        return self._connection._shell.env_prefix(**given)

    def _make_watcher(self, host: t.Any) -> _direct.Watcher:
        """The watcher that shows what the module does while it runs."""
        try:
            shown = boolean(os.environ.get(PROGRESS) or True)
        except TypeError as error:
            raise InvalidInput(PROGRESS, "must be a boolean") from error
        show = functools.partial(
            display.display, stderr=C.DEFAULT_STDOUT_CALLBACK.rpartition(".")[2] not in _FOR_PEOPLE
        )
        return _direct.Watcher(f"{self._task.action} [{host}]", show if shown and not self._task.no_log else None)

    def _run_directly(self, task_vars: Variables, environment: dict[str, str]) -> dict[str, t.Any]:
        """The result of the module, run in this process.

        ActionBase adds its options to those of the task, builds and runs the module, and makes a result from its output. The
        methods below replace only building and running, so that all the rest is the same.
        """
        self._environment = environment
        try:
            return t.cast("dict[str, t.Any]", self._execute_module(module_args=self._arguments(), task_vars=task_vars))
        finally:
            self._environment = None
            self._remove_files()

    def _is_pipelining_enabled(self, *arguments: t.Any, **options: t.Any) -> bool:
        # Without pipelining, Ansible would create a folder for the module on the host.
        return self._environment is not None or super()._is_pipelining_enabled(*arguments, **options)

    def _configure_module(self, module_name: str, module_args: Variables, task_vars: Variables) -> t.Any:
        if self._environment is None:
            return super()._configure_module(module_name=module_name, module_args=module_args, task_vars=task_vars)
        with contextlib.suppress(TypeError, ValueError):
            return _direct.built(_direct.encode(module_args), str(t.cast(ModuleType, self.MODULE).__file__))
        # Ansible has the error for options that can't be sent to a module.
        self._environment = None
        return super()._configure_module(module_name=module_name, module_args=module_args, task_vars=task_vars)

    def _low_level_execute_command(self, cmd: str, *arguments: t.Any, **options: t.Any) -> t.Any:
        if self._environment is None:
            return super()._low_level_execute_command(cmd, *arguments, **options)
        ended = _direct.run(
            t.cast(ModuleType, self.MODULE).main,
            options["in_data"],
            self._environment,
            self._loader.get_basedir(),
            self._watcher,
        )
        return {
            "rc": ended.status,
            "stdout": ended.stdout,
            "stdout_lines": ended.stdout.splitlines(),
            "stderr": ended.stderr,
            "stderr_lines": ended.stderr.splitlines(),
        }

    def _obstacle(self, task_vars: Variables, environment: dict[str, str]) -> str:
        """Why this task can't run in this process; empty if it can.

        ``environment`` gets the variables that the task sets.
        """
        if self.MODULE is None:
            return "the action plugin names no module"
        if not self._is_switched_on(task_vars):
            return f"{VARIABLE} or {SWITCH} is false"
        connection = getattr(self._connection, "_load_name", "of no plugin")
        if connection not in _LOCAL:
            return f"the connection is {connection}, not local"
        if self._task.async_val:
            return "the task is asynchronous"
        if self._task.become or self._connection.become is not None:
            return "the task becomes another user"
        if sys.platform == "darwin":
            return "macOS can't look up proxies in a forked process"
        if multiprocessing.parent_process() is None or threading.current_thread() is not threading.main_thread():
            return "the strategy does not give the task a process of its own"
        if C.DEFAULT_KEEP_REMOTE_FILES:
            return "Ansible is to keep the files of modules"
        if not _direct.has_libraries():
            return "the Python that runs Ansible lacks requests"
        variables = task_vars
        if self._task.delegate_to:
            variables = task_vars["ansible_delegated_vars"][self._task.delegate_to]
        interpreter = self._interpreter(variables)
        if not _direct.is_this_python(interpreter):
            return f"the Python interpreter is {interpreter}, and Ansible runs in {sys.executable}"
        if C.config.get_config_value("PYTHON_MODULE_RLIMIT_NOFILE", variables=variables):
            return "modules have a limit of open files"
        given: dict[str, t.Any] = {}
        self._compute_environment_string(given)
        # As the command of a module has them.
        environment.update({name: str(value) for name, value in given.items()})
        others = sorted(set(environment) - _direct.ENVIRONMENT)
        if others:
            return f"the environment variable {others[0]} may have an effect on the start of Python"
        return ""

    def _is_switched_on(self, task_vars: Variables) -> bool:
        given = task_vars.get(VARIABLE)
        if given is None:
            given = os.environ.get(SWITCH) or True
        try:
            return t.cast(bool, boolean(self._templar.template(given)))
        except TypeError as error:
            raise InvalidInput(VARIABLE, "must be a boolean") from error

    def _interpreter(self, variables: Variables) -> str:
        """The Python that would run the module, as Ansible determines it."""
        given = self._templar.template(C.config.get_config_value("INTERPRETER_PYTHON", variables=variables))
        if str(given or "auto").startswith("auto"):
            # Ansible discovers it with the first module that it runs on a host, and returns it as a fact.
            given = variables.get("ansible_facts", {}).get("discovered_interpreter_python", "not known yet")
        return str(given).strip()

    def _arguments(self) -> dict[str, t.Any]:
        """The options for the module. Raises InvalidInput, with which the task fails."""
        return dict(self._task.args)

    def _file(self, name: str, content: str) -> str:
        """The path of a file with this content on the module's host."""
        if self._environment is not None:
            descriptor, path = tempfile.mkstemp(suffix=f"-{name}", dir=C.DEFAULT_LOCAL_TMP)
            self._files.append(path)
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(content)
            return path
        shell = self._connection._shell
        if not shell.tmpdir:
            self._make_tmp_path()
        remote: str = shell.join_path(shell.tmpdir, name)
        self._transfer_data(remote, content)
        self._fixup_perms2((shell.tmpdir, remote))
        return remote

    def _remove_files(self) -> None:
        while self._files:
            os.unlink(self._files.pop())

    def _refused_defaults(self) -> str:
        """What is wrong with the defaults from the task's action groups; empty if nothing is.

        C(password) is an option of the modules that manage admins and users. A default of the group that is meant for the
        login would become the password of those accounts.
        """
        play = self._task._parent._play
        groups = [f"group/{group}" for group in play._action_groups.get(self._task.resolved_action, ())]
        for defaults in self._task.module_defaults or ():
            for group in groups:
                given = defaults.get(group)
                if isinstance(given, str):
                    given = self._templar.template(given)
                for name in LOGIN if isinstance(given, dict) else ():
                    if name in given:
                        return (
                            f"{name}: is no connection option, and module_defaults must not set it for {group}. "
                            f"To log in, use {LOGIN[name]}."
                        )
        return ""
