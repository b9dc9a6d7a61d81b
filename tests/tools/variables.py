# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the table of variables in a role's README from its meta/argument_specs.yml: ``variables.py [--check]``.

The table is between two comments of the README. With ``--check``, nothing is written, and the exit status is 1 when the table differs
from the specs.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import tree
import yaml

ROLE = tree.ROOT / "roles" / "server"
BEGIN = "<!-- generated from meta/argument_specs.yml by tests/tools/variables.py -->\n"
END = "<!-- end of the generated table -->\n"


def options(role: Path = ROLE) -> dict[str, dict[str, Any]]:
    """Return the options of the role's main entry point by name."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
    found: dict[str, dict[str, Any]] = specs["argument_specs"]["main"]["options"]
    return found


def kinds(role: Path = ROLE) -> dict[str, str]:
    """Return what the role declares over HTTP: each kind, and the variable that has it."""
    table = yaml.safe_load((role / "vars" / "main.yml").read_text())["__couchdb_kinds"]
    return dict(re.findall(r"'(\w+)': (\w+)", table))


def plain(text: str) -> str:
    """Return a description with Markdown instead of Ansible's markup."""
    text = re.sub(r"[OV]\((?:[\w.]+#module:)?([^)]*)\)", r"`\1`", text)
    text = re.sub(r"[CM]\(([^)]*)\)", r"`\1`", text)
    text = re.sub(r"B\(([^)]*)\)", r"**\1**", text)
    return text.replace("|", "\\|")


def kind(option: dict[str, Any]) -> str:
    """Return the type of an option, with that of the elements of a list."""
    elements = f" of {option['elements']}" if "elements" in option else ""
    return f"{option['type']}{elements}"


def default(option: dict[str, Any]) -> str:
    """Return the default of an option as a cell."""
    if option.get("required"):
        return "**required**"
    if "default" not in option:
        return ""
    return f"`{option['default'] if isinstance(option['default'], str) and option['default'] else json.dumps(option['default'])}`"


def described(option: dict[str, Any]) -> str:
    """Return an option's description in one cell."""
    text = " ".join(plain(sentence) for sentence in option["description"])
    if "choices" in option:
        text += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
    if "options" in option:
        text += " Options: " + ", ".join(f"`{name}`" for name in option["options"]) + "."
    return text


def table(role: Path = ROLE) -> str:
    """Return the table in Markdown."""
    rows = ["| variable | type | default | meaning |", "|---|---|---|---|"]
    for name, option in options(role).items():
        rows.append(f"| `{name}` | {kind(option)} | {default(option)} | {described(option)} |")
    return "\n".join(rows) + "\n"


def with_table(readme: str, role: Path = ROLE) -> str:
    """Return the README with the table replaced."""
    before, _begin, rest = readme.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not end:
        raise ValueError("the README has no comments around the table of variables")
    return f"{before}{BEGIN}\n{table(role)}\n{END}{after}"


def main() -> int:
    """Write the table, or check it."""
    path = ROLE / "README.md"
    old = path.read_text()
    new = with_table(old)
    if "--check" in sys.argv[1:]:
        return 0 if old == new else 1
    path.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
