# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module of this collection does on the controller."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

LOGIN = {"username": "login_user", "password": "login_password"}
"""What people write for a connection option → the option."""


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core has no types
    """Runs the module of the same name."""

    _supports_async = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task. https://docs.ansible.com/ansible/latest/dev_guide/developing_plugins.html#action-plugins"""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        refused = self._refused_defaults()
        if refused:
            return {**result, "failed": True, "changed": False, "msg": refused}
        in_background = self._task.async_val and not self._connection.has_native_async
        try:
            arguments = self._arguments()
        except InvalidInput as error:
            # As the module fails: an exception would not get to failed_when on ansible-core 2.21 and later.
            return {**result, "failed": True, "changed": False, "msg": str(error)}
        result.update(self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=in_background))
        if not in_background:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _arguments(self) -> dict[str, t.Any]:
        """What the module gets as its options. Raises InvalidInput, with which the task fails."""
        return dict(self._task.args)

    def _refused_defaults(self) -> str:
        """What is wrong with the defaults that the task's action groups give it; empty when nothing is.

        C(password) is an option of the modules that manage admins and users. As a default of the group it would be meant to
        log in with, and would become the password of those accounts.
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
