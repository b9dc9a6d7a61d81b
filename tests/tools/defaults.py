# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records the settings of fresh CouchDB servers in plugins/module_utils/_rules/defaults.py, by minor version.

    defaults.py http://admin:secret@127.0.0.1:5984/ ...

Start each server with nothing but an admin, a port and its directories: whatever else it was given is recorded as
a default. Versions that no server is given for stay as they are.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tree

sys.path.insert(0, str(tree.link()))

from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import declaration, defaults
from ansible_collections.couchpy.couchdb.plugins.module_utils.client import Client

FILE = Path(__file__).parents[2] / "plugins/module_utils/_rules/defaults.py"
TABLE = re.compile(r"^DEFAULTS: .*?^(?:\{\}|\})$|^DEFAULTS: .*?\{\}$", re.MULTILINE | re.DOTALL)


def recorded(url: str) -> tuple[str, defaults.Settings]:
    """The minor version of a server, and its settings without those of its installation."""
    client = Client(url)
    settings = client.config()
    kept = {
        section: {key: held[key] for key in sorted(held) if (section, key) not in declaration.OF_INSTALLATION}
        for section, held in sorted(settings.items())
        if section not in ("admins", *declaration.OF_RELEASE)
    }
    return ".".join(map(str, client.dialect.number[:2])), {section: held for section, held in kept.items() if held}


def written(table: dict[str, defaults.Settings]) -> str:
    """The table as Python."""
    lines = ["DEFAULTS: dict[str, Settings] = {"]
    for version in sorted(table):
        lines.append(f'    "{version}": {{')
        for section, held in table[version].items():
            lines.append(f'        "{section}": {{')
            lines += [f"            {key!r}: {value!r},".replace("'", '"') for key, value in held.items()]
            lines.append("        },")
        lines.append("    },")
    return "\n".join([*lines, "}"])


def main() -> None:
    """Ask the servers, and write the table."""
    table = {**defaults.DEFAULTS, **dict(recorded(url) for url in sys.argv[1:])}
    FILE.write_text(TABLE.sub(lambda found: written(table), FILE.read_text(), count=1))


if __name__ == "__main__":
    main()
