# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables as the YAML of a file in host_vars, so that Ansible reads exactly these values from it."""

from __future__ import annotations

import re
import typing as t

import yaml
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.adoption import Reference

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*\Z")
"""Strings that no YAML parser can misread, except those of _WORDS."""

_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"])

_TEMPLATE = re.compile(r"\{[{%#]")
"""The strings that Ansible would evaluate."""

_CONVERTED = re.compile(r"[\[{]|(True|False)\Z")
"""Strings that older versions of Ansible convert if they come from a template."""


class _Dumper(yaml.SafeDumper):
    """Writes block style, and quotes strings that could be misread."""

    def ignore_aliases(self, data: t.Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _string(dumper: _Dumper, value: str) -> yaml.Node:
    tag = "!unsafe" if _TEMPLATE.search(value) else "tag:yaml.org,2002:str"
    if _PLAIN.match(value) and value.lower() not in _WORDS:
        return dumper.represent_scalar(tag, value)
    return dumper.represent_scalar(tag, value, style="|" if "\n" in value else '"')


def _reference(dumper: _Dumper, value: Reference) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", f"{{{{ {value} }}}}", style='"')


_Dumper.add_representer(str, _string)
_Dumper.add_representer(Reference, _reference)


def text(variables: t.Mapping[str, t.Any], comment: str) -> str:
    """The content of a file with these variables.

    Strings are quoted if any version of YAML could read another type, and marked C(!unsafe) if
    Ansible would evaluate them. A Reference becomes a template of the variable that it names.
    """
    body = yaml.dump(
        dict(variables), Dumper=_Dumper, allow_unicode=True, default_flow_style=False, sort_keys=False, width=4096
    )
    return f"---\n# {comment}\n\n{body}"


def protected(variables: t.Mapping[str, t.Any], secrets: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The variables with a filter at each Reference to a string that older versions of Ansible would convert."""

    def walk(value: t.Any) -> t.Any:
        if isinstance(value, Reference):
            inner = secrets[value]
            return Reference(f"{value} | string") if isinstance(inner, str) and _CONVERTED.match(inner) else value
        if isinstance(value, dict):
            return {name: walk(inner) for name, inner in value.items()}
        return [walk(item) for item in value] if isinstance(value, list) else value

    return {name: walk(value) for name, value in variables.items()}
