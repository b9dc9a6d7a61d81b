# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings that a fresh CouchDB has before any change, by minor version. Pure data.

Recorded with tests/tools/defaults.py from fresh servers of these versions, without the settings that
belong to one installation (see declaration.py). Everything else is built into CouchDB and in no listing
of settings.
"""

from __future__ import annotations

import typing as t

Settings = t.Dict[str, t.Dict[str, str]]

DEFAULTS: dict[str, Settings] = {
    "3.3": {
        "chttpd_auth": {
            "hash_algorithms": "sha256, sha",
        },
        "couch_httpd_auth": {
            "authentication_db": "_users",
        },
        "prometheus": {
            "additional_port": "false",
        },
    },
    "3.4": {
        "chttpd_auth": {
            "hash_algorithms": "sha256, sha",
        },
        "couch_httpd_auth": {
            "authentication_db": "_users",
        },
        "nouveau": {
            "url": "http://127.0.0.1:5987",
        },
        "prometheus": {
            "additional_port": "false",
        },
    },
    "3.5": {
        "chttpd_auth": {
            "hash_algorithms": "sha256, sha",
        },
        "couch_httpd_auth": {
            "authentication_db": "_users",
        },
        "nouveau": {
            "url": "http://127.0.0.1:5987",
        },
        "prometheus": {
            "additional_port": "false",
        },
    },
}


def of_version(number: t.Sequence[int]) -> Settings | None:
    """The settings (section → key → value) of a fresh server of this version, None for an unknown version."""
    return DEFAULTS.get(".".join(map(str, number[:2])))
