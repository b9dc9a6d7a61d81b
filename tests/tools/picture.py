# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes docs/terminal.svg, the picture in the README, from real runs of examples/getting_started.yml.

It looks first (check mode), runs, and runs again, on an embedded server of its own.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys

import rich.console
import rich.text
import tree

sys.path.insert(0, str(tree.ROOT / "tests/server"))

import embedded

PLAYBOOK = "examples/getting_started.yml"
PICTURE = tree.ROOT / "docs/terminal.svg"
WIDTH = 120
RUNS: tuple[list[str], ...] = (["--check", "--diff"], [], [])


def main() -> int:
    """Make the picture; return 1 if the runs are not what it is meant to show."""
    console = rich.console.Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    settings = {
        "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
        "ANSIBLE_FORCE_COLOR": "true",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_NOCOWS": "true",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        "COLUMNS": str(WIDTH),
    }
    changed = []
    with embedded.server(dialect="3", admin="admin:secret") as server:
        login = {"COUCHDB_URL": server.url, "COUCHDB_USERNAME": "admin", "COUCHDB_PASSWORD": "secret"}
        for options in RUNS:
            command = ["ansible-playbook", *options, PLAYBOOK]
            console.print(rich.text.Text(f"$ {' '.join([*command[:-1], 'shop.yml'])}", style="bold"))
            environment = {**os.environ, **settings, **login}
            run = subprocess.run(command, cwd=tree.ROOT, env=environment, check=True, capture_output=True, text=True)
            # The stars of a headline fill a line of 79 columns, and its empty lines would make the picture long.
            shown = re.sub(r"\*{3,}", "***", run.stdout)
            shown = re.sub(r"\n{2,}", "\n", shown).strip("\n")
            console.print(rich.text.Text.from_ansi(shown))
            console.print()
            changed += re.findall(r"changed=(\d+)", shown)
    # rich names the classes of its styles by a checksum of the content, so that the same runs give the same file.
    svg = console.export_svg(title="couchpy.couchdb: look, run, run again")
    PICTURE.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")
    print(PICTURE, "changed:", *changed)
    return 0 if changed == ["2", "2", "0"] else 1


if __name__ == "__main__":
    sys.exit(main())
