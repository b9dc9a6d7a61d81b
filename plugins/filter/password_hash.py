# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter password_hash: a CouchDB password hash for templates and password_hash options.

It imports what it needs when it is called: for one filter, Ansible loads those of all files, in each process of a task.
"""

from __future__ import annotations

import re
import typing as t

from ansible.errors import AnsibleFilterError


def password_hash(password: t.Any, salt: t.Any, iterations: int = 600000, prf: str = "sha256") -> str:
    """The hash of a password as CouchDB keeps it for server admins. Raises AnsibleFilterError for what can't work."""
    for name, value in (("password", password), ("salt", salt)):
        if not isinstance(value, str):
            raise AnsibleFilterError(f"couchpy.couchdb.password_hash: {name}: must be a string")
    if isinstance(iterations, bool) or not re.match(r"[0-9]+\Z", str(iterations)):
        raise AnsibleFilterError("couchpy.couchdb.password_hash: iterations: must be a whole number")
    from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import passwords
    from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

    try:
        # Strings may be of Ansible's own kinds, which say where they came from; a hash is a plain one.
        return str(passwords.derive(str(password), prf=str(prf), iterations=int(iterations), salt=str(salt)))
    except InvalidInput as error:
        raise AnsibleFilterError(f"couchpy.couchdb.password_hash: {error}") from None


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., str]]:
        """Give them by name."""
        return {"password_hash": password_hash}
