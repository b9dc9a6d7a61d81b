# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter logged_secrets: the secret settings that CouchDB would write to its log.

It imports what it needs when it is called: for one filter, Ansible loads those of all files, in each process of a task.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError


def logged_secrets(settings: t.Any) -> list[str]:
    """Their names, as C(section/key). Raises AnsibleFilterError for settings that CouchDB can't have."""
    if settings == {}:
        return []
    from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import ini
    from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

    try:
        return ini.logged_secrets(settings)
    except InvalidInput as error:
        raise AnsibleFilterError(f"couchpy.couchdb.logged_secrets: {error}") from None


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., list[str]]]:
        """Give them by name."""
        return {"logged_secrets": logged_secrets}
