# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter to_ini: CouchDB's settings as one of its ini files holds them."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import config
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput


def to_ini(settings: t.Any) -> str:
    """The text of an ini file with these settings. Raises AnsibleFilterError for what such a file can't hold."""
    try:
        return config.ini_text(settings)
    except InvalidInput as error:
        raise AnsibleFilterError(f"couchpy.couchdb.to_ini: {error}") from None


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., str]]:
        """Give them by name."""
        return {"to_ini": to_ini}
