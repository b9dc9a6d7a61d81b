# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the documentation site from docs/docsite and the plugins' documentation; checks its links, and those of Markdown pages.

Offline: links to other sites, such as Ansible's documentation, are made but not followed. Every warning of antsibull-docs
and of Sphinx is an error. The site is in .cache/docs/html.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import tree

PLACE = tree.CACHE / "docs"
SITE = PLACE / "html"
COLLECTION = "couchpy.couchdb"

CONF = """\
from pathlib import Path

project = "couchpy.couchdb"
copyright = "CouchPy contributors (@couchpy)"
title = "couchpy.couchdb"
html_short_title = title
extensions = ["sphinx.ext.intersphinx", "sphinx_antsibull_ext"]
intersphinx_mapping = {"ansible": ("https://docs.ansible.com/ansible/devel/", str(Path(__file__).parent / "ansible.inv"))}
pygments_style = "ansible"
highlight_language = "YAML+Jinja"
html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_use_smartypants = True
default_role = "any"
suppress_warnings = ["config.cache"]

"""

# What the pages refer to in Ansible's own documentation, whose inventory would have to be downloaded.
ANSIBLE = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
BUILTIN = re.compile(r"\bansible_collections\.ansible\.builtin\.\w+|(?<=`)ansible\.builtin\.\w+#\w+")

# A link of a Markdown page that is neither a URL nor inside code.
MARKDOWN_LINK = re.compile(r"\]\((?![a-z]+:)([^)\s]+)\)")


def write_inventory(rst: Path) -> None:
    """Write an inventory, as Sphinx reads it, of what the pages refer to in Ansible's documentation."""
    places = dict(ANSIBLE)
    for page in rst.rglob("*.rst"):
        for found in BUILTIN.findall(page.read_text(encoding="utf-8")):
            label = (
                found if found.startswith("ansible_collections.") else f"ansible_collections.{found.replace('#', '_')}"
            )
            places[label] = f"collections/ansible/builtin/{label.rpartition('.')[2]}.html"
    lines = [f"{label} std:label -1 {place}#{re.sub('[._]', '-', label)} {label}\n" for label, place in places.items()]
    head = "# Sphinx inventory version 2\n# Project: Ansible\n# Version: devel\n"
    head += "# The remainder of this file is compressed using zlib.\n"
    (PLACE / "ansible.inv").write_bytes(head.encode() + zlib.compress("".join(lines).encode()))


def build() -> int:
    """Build the site; return 0 unless there was a warning."""
    shutil.rmtree(PLACE, ignore_errors=True)
    rst = PLACE / "rst"
    rst.mkdir(parents=True)
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tree.link())}
    generate = ["antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error"]
    subprocess.run([*generate, "--dest-dir", str(rst), COLLECTION], cwd=tree.ROOT, env=environment, check=True)
    write_inventory(rst)
    (PLACE / "conf.py").write_text(CONF)
    sphinx = ["sphinx-build", "-b", "html", "-n", "-W", "--keep-going", "-c", str(PLACE), str(rst), str(SITE)]
    return subprocess.run(sphinx, env=environment, check=False).returncode


class Page(HTMLParser):
    """The links of a page, and the places in it that links can lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what a tag links to, and its own name."""
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.links.add(value)
            elif value and name == "id":
                self.anchors.add(value)


def dead_links() -> list[str]:
    """Return the links inside the site that lead nowhere."""
    pages = {path: Page(path) for path in SITE.rglob("*.html")}
    dead = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            missing = not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors)
            if missing:
                dead.append(f"{path.relative_to(SITE)}: {link}")
    return dead


def dead_markdown_links() -> list[str]:
    """Return the links between the project's files, in its Markdown pages, that lead nowhere."""
    dead = []
    for path in tree.files():
        if path.suffix != ".md":
            continue
        for link in MARKDOWN_LINK.findall((tree.ROOT / path).read_text(encoding="utf-8")):
            target, _hash, anchor = link.partition("#")
            page = tree.ROOT / path.parent / unquote(target) if target else tree.ROOT / path
            if not page.exists() or (anchor and page.suffix == ".md" and anchor not in headings(page)):
                dead.append(f"{path}: {link}")
    return dead


def headings(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a Markdown page, and those that the page itself has."""
    text = page.read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    named = set(re.findall(r'<a id="([^"]+)">', text))
    return named | {re.sub(r"[^\w -]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def main() -> int:
    """Build and check; return 1 if anything is wrong."""
    dead = dead_markdown_links()
    status = build()
    dead += dead_links() if SITE.exists() else []
    for link in dead:
        print("dead link:", link)
    pages = len(list(SITE.rglob("*.html")))
    print(f"{pages} pages, {len(dead)} dead links: {SITE / 'index.html'}")
    return 1 if status or dead or not pages else 0


if __name__ == "__main__":
    sys.exit(main())
