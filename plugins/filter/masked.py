# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter masked: a string, such as the end of a log, without the secrets in it.

It imports what it needs when it is called: for one filter, Ansible loads those of all files, in each process of a task.
"""

from __future__ import annotations

import re
import typing as t

from ansible.errors import AnsibleFilterError

_HASH = re.compile(r"-(hashed|pbkdf2)(:\w+)?-[0-9a-fA-F]+,[^,\s]+(,[0-9]+)?")


def masked(text: t.Any, secrets: t.Any = ()) -> str:
    """The string without the credentials of the URLs in it, without password hashes, and without any of the secrets."""
    from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.secrets import MASK, mask_text

    if isinstance(secrets, str) or not all(isinstance(secret, str) for secret in secrets):
        raise AnsibleFilterError("couchpy.couchdb.masked: secrets: must be a list of strings")
    # The longest first: a secret may be a part of another.
    return mask_text(_HASH.sub(MASK, str(text)), sorted(map(str, secrets), key=len, reverse=True))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., str]]:
        """Give them by name."""
        return {"masked": masked}
