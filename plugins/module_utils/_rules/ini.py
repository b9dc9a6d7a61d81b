# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of CouchDB as one of its ini files holds them. Pure. No module needs it, so none is sent with it."""

from __future__ import annotations

import typing as t

from ..errors import InvalidInput
from .config import check_form, comment_warning
from .names import key_problem, section_problem
from .secrets import is_secret_setting, text_secrets
from .values import setting_string


def content(settings: t.Any) -> str:
    """The content of an ini file with these settings (section → key → value), without keys whose value is None.

    Raises InvalidInput for settings that such a file can't contain, and for those that would keep CouchDB from starting.

    https://docs.couchdb.org/en/stable/config/intro.html#configuration-files
    """
    lines: list[str] = []
    for section, keys in _sections(settings):
        problem = section_problem(section)
        if problem:
            raise InvalidInput(section, f"the name of the section {problem}, which an ini file can't contain")
        pairs = [_ini_line(section, key, value) for key, value in sorted(keys.items()) if value is not None]
        if pairs:
            lines += [f"[{section}]", *pairs, ""]
    return "\n".join(lines[:-1])


def part(settings: t.Mapping[t.Any, t.Mapping[t.Any, t.Any]], secrets: bool) -> dict[t.Any, dict[t.Any, t.Any]]:
    """Of settings, those that are secret by their names, or hold the credentials of a URL; or the others."""
    return {
        section: {key: value for key, value in keys.items() if _is_secret(section, key, value) is secrets}
        for section, keys in settings.items()
    }


def _is_secret(section: t.Any, key: t.Any, value: t.Any) -> bool:
    return is_secret_setting(str(section), str(key)) or (isinstance(value, str) and bool(text_secrets(value)))


def secret_names(settings: t.Any) -> list[str]:
    """The names of the settings that are secret, as C(section/key). Raises InvalidInput as content() does."""
    content(settings)
    return [
        f"{section}/{key}"
        for section, keys in _sections(part(settings, True))
        for key, value in sorted(keys.items())
        if value is not None
    ]


def _sections(settings: t.Any) -> list[tuple[str, t.Mapping[str, t.Any]]]:
    if not isinstance(settings, t.Mapping):
        raise InvalidInput("settings", "must be a mapping of sections to mappings of keys to values")
    for section, keys in settings.items():
        if not isinstance(keys, t.Mapping):
            raise InvalidInput(str(section), "must be a mapping of keys to values")
    return sorted((str(section), keys) for section, keys in settings.items())


def _ini_line(section: str, key: t.Any, value: t.Any) -> str:
    option = f"{section}/{key}"
    key = str(key)
    string = setting_string(value, option)
    problem = key_problem(key)
    if problem:
        raise InvalidInput(option, f"the key {problem}")
    if comment_warning(section, key, string):
        raise InvalidInput(
            option, "contains a semicolon at the start or after a space, where an ini file has a comment"
        )
    if section != "admins":
        check_form(section, key, string, option)
    return f"{key} = {string}"
