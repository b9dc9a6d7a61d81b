# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter secret_settings: the names of the settings that are secret.

It imports what it needs when it is called: for one filter, Ansible loads those of all files, in each process of a task.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError


def secret_settings(settings: t.Any) -> list[str]:
    """Their names, as C(section/key). Raises AnsibleFilterError for settings that CouchDB can't have."""
    from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import ini
    from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

    try:
        return ini.secret_names(settings)
    except InvalidInput as error:
        raise AnsibleFilterError(f"couchpy.couchdb.secret_settings: {error}") from None


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., list[str]]]:
        """Give them by name."""
        return {"secret_settings": secret_settings}
