# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of CouchDB: which are refused, which are equal, which need a restart. Pure.

See https://docs.couchdb.org/en/stable/config/intro.html and
https://docs.couchdb.org/en/stable/api/server/configuration.html.
"""

from __future__ import annotations

import json
import re
import typing as t

from ..errors import InvalidInput
from .forms import FORMS, WRITABLE
from .names import key_problem, path_problem, section_problem
from .values import equal

_REFUSED_OVER_HTTP = frozenset(
    [
        "daemons",
        "external",
        "feature_flags",
        "httpd_db_handlers",
        "httpd_design_handlers",
        "httpd_global_handlers",
        "native_query_servers",
        "os_daemons",
        "query_servers",
    ]
)

LISTENERS = frozenset(["chttpd", "httpd", "ssl", "prometheus"])

LISTENER_KEYS = ("backlog", "server_options", "bind_address", "port")
"""The keys that restart a listener, in the order in which to change them: those that move it come last."""

LISTENER_CHANGES = 3
"""How often a node restarts its listener within ten seconds; the fourth time, it gives up and stops."""

_AT_RESTART = frozenset(
    [
        ("couchdb", "database_dir"),
        ("couchdb", "view_index_dir"),
        ("couchdb", "uuid"),
        ("couchdb", "max_couch_server_shards"),
        ("chttpd", "authentication_handlers"),
        ("httpd", "authentication_handlers"),
        ("chttpd_auth_lockout", "max_objects"),
        ("chttpd_auth_lockout", "max_lifetime"),
    ]
)


_SMOOSH = re.compile(r"\Asmoosh\..*")


def check_setting(section: str, key: str, string: str | None, options: t.Mapping[str, str]) -> None:
    """Raise InvalidInput for a setting that can't or must not be written over HTTP.

    ``string`` is the value that setting_string() returns, None to remove the setting. ``options`` has the names of
    C(section), C(key) and C(value) in errors.
    """
    if section == "admins":
        raise InvalidInput(options["section"], "is admins. Use couchdb_admin to manage server admins")
    if section in _REFUSED_OVER_HTTP:
        raise InvalidInput(options["section"], f"CouchDB refuses changes of [{section}] over HTTP. Use its files")
    for what, name, of_kind in (("section", section, section_problem(section)), ("key", key, key_problem(key))):
        problem = of_kind or path_problem(name)
        if problem:
            raise InvalidInput(options[what], f"CouchDB can't store the {what} {name!r}: it {problem}")
    if string is not None:
        check_form(section, key, string, options["value"])


def check_form(section: str, key: str, string: str, option: str) -> None:
    """Raise InvalidInput for a value that would stop the server, at once or at its next start."""
    form = FORMS.get((_SMOOSH.sub("smoosh.*", section), "*" if section == "couchdb_engines" else key))
    if form and not form.fits(string):
        raise InvalidInput(option, f"{string!r} would stop the server. {section}/{key} must be {form.must_be}")


def locked_out(settings: t.Mapping[str, t.Mapping[str, str]]) -> str:
    """Why an admin of a node could not log in with all these settings, which only its files could undo; empty if each can."""

    def value(key: str, *sections: str) -> str:
        return next((settings[section][key] for section in sections if settings.get(section, {}).get(key)), "")

    if value("validate_host", "chttpd", "httpd") == "true" and not value("valid_hosts", "chttpd", "httpd"):
        return "no request would be accepted any more: validate_host is true, and valid_hosts names no host. Set both"
    if value("verify_ssl_certificates", "ssl") == "true" and not value("cacert_file", "ssl"):
        return "CouchDB would not start with TLS: ssl/verify_ssl_certificates is true, and ssl/cacert_file names no file. Set both"
    if value("enable", "ssl") == "true" and not (value("cert_file", "ssl") and value("key_file", "ssl")):
        return "CouchDB would not start: ssl/enable is true, and needs ssl/cert_file and ssl/key_file. Set all three"
    if value("single_node", "couchdb") == "true" and value("seedlist", "cluster"):
        return "CouchDB would not start without the nodes of cluster/seedlist, as couchdb/single_node is true. Remove one of them"
    given = (value(f"{end}_iterations", "chttpd_auth", "couch_httpd_auth") for end in ("min", "max"))
    least, most = (int(one) if re.match(r"[0-9]+\Z", one) else default for one, default in zip(given, (1, 10**9)))
    for name, stored in sorted(settings.get("admins", {}).items()):
        found = re.search(r"^-pbkdf2.*,([0-9]+)\Z", stored)
        if found and not least <= int(found.group(1)) <= most:
            return (
                f"the admin {name} could not log in any more: the hash of the password has {found.group(1)} iterations, not "
                f"{least} to {most}. Set other bounds, or change the password first"
            )
    return ""


def is_listener(section: str, key: str) -> bool:
    """Whether this setting says where or how the server listens, so that a change restarts the listener at once."""
    return section in LISTENERS and key in LISTENER_KEYS


def same_setting(desired: str | None, current: t.Any) -> bool:
    """Whether a setting has the desired value. ``current`` is the server's, None if it has no such setting.

    CouchDB keeps an empty string only until its next restart, so it is equal to none.
    PouchDB Server returns JSON values rather than strings.
    """
    if current is None or current == "":
        return not desired
    if desired is None:
        return False
    if isinstance(current, str):
        return current.strip(" \t") == desired
    try:
        return equal(json.loads(desired), current)
    except ValueError:
        return False


def needs_restart(section: str, key: str) -> bool:
    """Whether a change of this setting takes effect only at CouchDB's next start."""
    return section == "ssl" or (section, key) in _AT_RESTART


def file_warning(section: str, key: str) -> str | None:
    """The warning for a setting that names a file that CouchDB must be able to write."""
    if (section, key) in FORMS and FORMS[section, key].must_be == WRITABLE:
        return f"CouchDB stops if it can't write the file that {section}/{key} names. This module does not check that"
    return None


def comment_warning(section: str, key: str, string: str) -> str | None:
    """The warning for a value with an ini comment: CouchDB keeps it in memory, and cuts it when it reads its file."""
    if re.search(r"(?:^|[ \t]);", string):
        return f"the value of {section}/{key} contains a semicolon at the start or after a space. CouchDB cuts it there when it restarts"
    return None
