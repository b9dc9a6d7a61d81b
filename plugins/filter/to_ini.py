# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter to_ini: CouchDB's settings as one of its ini files holds them.

It imports what it needs when it is called: for one filter, Ansible loads those of all files, in each process of a task.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError


def to_ini(settings: t.Any, secrets: bool | None = None) -> str:
    """The content of an ini file with these settings. Raises AnsibleFilterError for what such a file can't hold.

    ``secrets``: whether only those settings are in it that are secret, or only the others.
    """
    if settings == {}:
        return ""
    from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import ini
    from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

    try:
        whole = ini.content(settings)
        return whole if secrets is None else ini.content(ini.part(settings, bool(secrets)))
    except InvalidInput as error:
        raise AnsibleFilterError(f"couchpy.couchdb.to_ini: {error}") from None


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., str]]:
        """Give them by name."""
        return {"to_ini": to_ini}
