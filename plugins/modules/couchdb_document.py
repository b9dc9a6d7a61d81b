#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_document: documents and design documents are in databases, from YAML or from files, or are not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_document
short_description: Manage documents and design documents of CouchDB
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Creates, changes and deletes documents, design documents and C(_local) documents.
  - They are given in O(documents), or are read from files with O(src). With O(databases), one task keeps those of many databases.
  - All are read in bulk and compared with what is given, without what CouchDB adds to a document, such as C(_rev). Those that differ are
    written in bulk, design documents first.
  - The databases must be there. P(couchpy.couchdb.couchdb_database#module) creates them.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.connection.password
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  database:
    description:
      - Name of a single database.
    type: str
  documents:
    description:
      - The documents, each a mapping with its C(_id). They may be given as they were read from CouchDB. What it adds to a document is
        passed over, C(_rev) too.
      - Attachments are given in C(_attachments), as a mapping of names to C(content_type) and C(data) in Base64. Those that are
        the same are not sent again.
      - With O(state=absent), only C(_id) counts. What is in conflict with a document is deleted with it.
    type: list
    elements: dict
  src:
    description:
      - A JSON file or a directory to read documents from. It is looked for where P(ansible.builtin.copy#module) looks, in C(files) of
        the role or playbook first, and read on the controller, unless O(remote_src=true). Files that Ansible Vault encrypted are decrypted.
      - 'A JSON file holds a document, a list of them, or an object with such a list in C(docs). A document without C(_id) has the name of its file.'
      - A directory is a database. C(NAME.json) and the directory C(NAME) in it are the document C(NAME), those in its directories
        C(_design) and C(_local) are the documents C(_design/NAME) and C(_local/NAME).
      - A document that is a directory has a field for each file and directory in it, named without the last ending, such as
        C(_design/app/views/by-date/map.js). Files whose name ends with C(.json) are read as JSON, all others as text without spaces and
        line ends around it. A file C(_id) sets the document's id. Files in C(_attachments) become attachments.
      - A directory that holds a file C(_id) or a directory C(_attachments), or lies in one called C(_design) or C(_local), is a
        single document.
      - Hidden files, those that end with C(~), and C(_security.json) are passed over.
        P(couchpy.couchdb.couchdb_database#module) sets security objects.
    type: path
  remote_src:
    description:
      - Whether O(src) is on the host that runs the module, rather than on the controller.
    type: bool
    default: false
  ids:
    description:
      - Ids of documents to delete, with O(state=absent).
    type: list
    elements: str
  state:
    description:
      - Whether the documents are to be there.
    type: str
    choices: [present, absent]
    default: present
  mode:
    description:
      - V(replace) sees that a document holds what is given and nothing else.
      - V(merge) keeps the fields of a document, and its attachments, that are not given. A field that is given is replaced as a whole,
        also when it is a mapping.
    type: str
    choices: [replace, merge]
    default: replace
  build:
    description:
      - Whether to wait until the views of the design documents are built, changed or not.
    type: bool
    default: false
  staged:
    description:
      - Whether to build the views of a design document before it is written. They are built in another one, with C(-staged) after its
        id, that is removed afterwards. Queries get their answers from the old views until the new ones are built, and wait for neither.
      - When they are not built within O(wait_timeout), the task fails, and the design document stays as it was. The next run goes on.
      - Includes O(build).
    type: bool
    default: false
  wait_timeout:
    description:
      - How many seconds to wait for the views of a design document.
    type: int
    default: 600
  databases:
    description:
      - Several databases, each with its documents. O(state), O(mode), O(build) and O(staged) apply to those that have none of their own.
    type: list
    elements: dict
    suboptions:
      database:
        description:
          - Name of the database.
        type: str
        required: true
      documents:
        description:
          - The documents, as in O(documents).
        type: list
        elements: dict
      src:
        description:
          - A JSON file or a directory, as in O(src).
        type: path
      ids:
        description:
          - Ids of documents to delete, as in O(ids).
        type: list
        elements: str
      state:
        description:
          - Whether the documents are to be there. If not set, O(state) applies.
        type: str
        choices: [present, absent]
      mode:
        description:
          - What becomes of fields that are not given. If not set, O(mode) applies.
        type: str
        choices: [replace, merge]
      build:
        description:
          - Whether to wait until views are built. If not set, O(build) applies.
        type: bool
      staged:
        description:
          - Whether to build views before a design document is written. If not set, O(staged) applies.
        type: bool
notes:
  - Numbers that are the same, such as V(1) and V(1.0), and another order of fields are no change.
  - Functions that don't compile are refused before anything of their design document is written, with CouchDB's message and the file.
    PouchDB Server compiles none.
  - Users have passwords that CouchDB hashes. P(couchpy.couchdb.couchdb_user#module) knows about them.
  - Macros of couchapp (C(// !code)) are not expanded, and functions of JavaScript modules are not run.
seealso:
  - name: Documents
    description: The fields that are CouchDB's own, and attachments.
    link: https://docs.couchdb.org/en/stable/api/document/common.html
  - name: Design documents
    description: What they hold.
    link: https://docs.couchdb.org/en/stable/ddocs/ddocs.html
  - module: couchpy.couchdb.couchdb_database
  - module: couchpy.couchdb.couchdb_user
"""

EXAMPLES = r"""
- name: Two documents, of which others may change other fields
  couchpy.couchdb.couchdb_document:
    url: http://db.example.com:5984/
    username: admin
    password: "{{ couchdb_admin_password }}"
    database: shop
    mode: merge
    documents:
      - _id: currencies
        accepted: [EUR, USD]
      - _id: opening-hours
        weekdays: 9-18

- name: A design document from the directory files/shop/_design/app, switched when its views are built
  couchpy.couchdb.couchdb_document:
    database: shop
    src: shop/_design/app
    staged: true
    wait_timeout: 7200

- name: All that several databases begin with, as directories
  couchpy.couchdb.couchdb_document:
    databases:
      - database: shop
        src: couch/shop
      - database: archive
        src: couch/archive
        build: true

- name: Documents that are no more
  couchpy.couchdb.couchdb_document:
    database: shop
    ids: [_design/old-app, coupon-2019]
    state: absent
"""

RETURN = r"""
documents:
  description: The documents as they are after the task, or would be in check mode, in the order of the task.
  type: list
  elements: dict
  returned: success
  contains:
    database:
      description: Name of the database.
      type: str
      returned: always
      sample: shop
    id:
      description: Id of the document.
      type: str
      returned: always
      sample: _design/app
    rev:
      description: Its revision. V(null) when it is not there, and in check mode when it would be written.
      type: str
      returned: always
      sample: 2-7051cbe5c8faecd085a3fa619e6e6337
    status:
      description: What was done, or would be, V(unchanged), V(created), V(updated) or V(deleted).
      type: str
      returned: always
      sample: updated
"""

import typing as t
from dataclasses import dataclass

from ansible_collections.couchpy.couchdb.plugins.module_utils import _documents
from ansible_collections.couchpy.couchdb.plugins.module_utils._client.documents import Documents
from ansible_collections.couchpy.couchdb.plugins.module_utils._documents import STAGED, Key, Wanted, rev_of
from ansible_collections.couchpy.couchdb.plugins.module_utils._module import Resource, run
from ansible_collections.couchpy.couchdb.plugins.module_utils._plan import Change, Plan
from ansible_collections.couchpy.couchdb.plugins.module_utils._secrets import document_secrets
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

_DATABASE: dict[str, t.Any] = {
    "documents": {"type": "list", "elements": "dict"},
    "src": {"type": "path"},
    "ids": {"type": "list", "elements": "str"},
    "state": {"type": "str", "choices": ["present", "absent"]},
    "mode": {"type": "str", "choices": ["replace", "merge"]},
    "build": {"type": "bool"},
    "staged": {"type": "bool"},
}

ARGUMENT_SPEC: dict[str, t.Any] = {
    **_DATABASE,
    "database": {"type": "str"},
    "remote_src": {"type": "bool", "default": False},
    "state": {**_DATABASE["state"], "default": "present"},
    "mode": {**_DATABASE["mode"], "default": "replace"},
    "build": {"type": "bool", "default": False},
    "staged": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 600},
    "databases": {
        "type": "list",
        "elements": "dict",
        "options": {"database": {"type": "str", "required": True}, **_DATABASE},
        "required_one_of": [("documents", "src", "ids")],
    },
}


@dataclass(frozen=True)
class Desired:
    """The documents that are declared, by database and id, and how long to wait for their views, in seconds."""

    wanted: dict[Key, Wanted]
    wait_timeout: int


@dataclass(frozen=True)
class Observed:
    """What there is: the revisions of the documents that are as desired, None for none, and those that differ, whole.

    ``missing`` are databases that aren't there; ``limit`` is the largest document, in bytes, that the server takes.
    """

    revs: dict[Key, str | None]
    differing: dict[Key, dict[str, t.Any] | None]
    missing: frozenset[str]
    limit: int | None = None


def desire(params: dict[str, t.Any]) -> Desired:
    """The documents, checked, those of files too. Raises InvalidInput for what can't work, and for a document given twice."""
    given = [params] if params["databases"] is None else params["databases"]
    wanted: dict[Key, Wanted] = {}
    for number, options in enumerate(given):
        where = "" if options is params else f"databases[{number}]."
        names = ("state", "mode", "build", "staged")
        common = {name: params[name] if options[name] is None else options[name] for name in names}
        for one in _documents.declared({**options, **common}, where):
            if one.key in wanted:
                places = f"{wanted[one.key].where} and {one.where}"
                raise InvalidInput(f"{where}documents", f"the document {one.id} has two sources: {places}")
            wanted[one.key] = one
    if params["wait_timeout"] < 1:
        raise InvalidInput("wait_timeout", f"is {params['wait_timeout']}, and must be 1 or more")
    return Desired(wanted, params["wait_timeout"])


def observe(client: Documents, desired: Desired) -> Observed:
    """The documents in bulk. Of those that are as desired only the revision is kept."""
    wanted = desired.wanted
    portions = client.documents(
        _documents.reading(wanted.values()), lambda *portion: _documents.compared(wanted, *portion)
    )
    revs = {key: rev for found in portions for key, rev in found.revs.items()}
    differing = {key: held for found in portions for key, held in found.differing.items()}
    unsure = [(*key, name) for key, held in differing.items() for name in _documents.undecided(wanted[key], held)]
    for (database, docid, name), content in zip(unsure, client.attachments(unsure)):
        differing[database, docid]["_attachments"][name]["digest"] = _documents.digest(content)
    missing = frozenset(found.database for found in portions if found.missing)
    return Observed(revs, differing, missing, client.max_document_size() if differing else None)


def plan(desired: Desired, observed: Observed) -> Plan:
    """Which documents must be written or deleted."""
    changes: list[Change] = []
    revs = {key: rev_of(held) for key, held in observed.differing.items()}
    for key, held in observed.differing.items():
        one = desired.wanted[key]
        document = _documents.to_write(one, held, observed.limit)
        if document is not held:
            revs[key] = None
            changes += _changes(one, held, document, observed, desired.wait_timeout)
    switched = {change.path for change in changes if change.call == "switch_design_document"}
    left_over = {
        key for key, one in desired.wanted.items() if one.left_over and (key[0], key[1][: -len(STAGED)]) in switched
    }
    needed = sorted({key[0] for key, one in desired.wanted.items() if one.present} & observed.missing)
    warnings = tuple(f"there is no database {name}: create it first" for name in needed)
    return Plan(
        tuple(change for change in changes if change.path not in left_over),
        Observed({**observed.revs, **revs}, {}, frozenset()),
        warnings,
    )


def wait(client: Documents, desired: Desired, observed: Observed) -> Observed:
    """What there is once the views that are waited for are built."""
    building = [one for one in desired.wanted.values() if one.is_design and one.present and (one.build or one.staged)]
    client.build_views([(*one.key, _documents.views(one.document)) for one in building], desired.wait_timeout)
    return observed


def report(desired: Desired, observed: Observed, changes: list[Change]) -> dict[str, list[dict[str, t.Any]]]:
    """The documents in the order of the task."""
    held = {**observed.revs, **{key: rev_of(there) for key, there in observed.differing.items()}}
    done = {change.path: f"{change.action}d" for change in changes}
    return {
        "documents": [
            {"database": key[0], "id": key[1], "rev": held[key], "status": done.get(key, "unchanged")}
            for key, one in desired.wanted.items()
            if not one.left_over
        ]
    }


def secrets(params: dict[str, t.Any]) -> set[str]:
    """The fields that are secret by their name."""
    return document_secrets([options["documents"] for options in [params, *(params["databases"] or [])]])


def _changes(
    one: Wanted, held: dict[str, t.Any] | None, document: t.Any, observed: Observed, wait_timeout: int
) -> t.Iterator[Change]:
    """The changes that make a document what it should be: one, or a deletion for each of its conflicting revisions.

    Those of a missing database go first, as they fail before anything else is done; then design documents, which
    may check the others.
    """
    action = "create" if held is None else "update" if document else "delete"
    shown = (_documents.shown(held), _documents.shown(document))
    stage = 0 if one.database in observed.missing else 1 if one.is_design else 2
    if one.is_design and document:
        arguments = {"document": document, "files": one.files}
        call = "put_design_document"
        if one.staged and _documents.needs_building(document, held):
            call, arguments["wait_timeout"] = "switch_design_document", wait_timeout
        yield Change(action, "document", one.key, *shown, call, arguments, database=one.database, stage=stage)
        return
    for sent in [document] if document else _documents.deletions(held or {}):
        yield Change(
            action,
            "document",
            one.key,
            *shown,
            "write_documents",
            {"documents": sent},
            database=one.database,
            stage=stage,
            bulk=True,
            size=_documents.sent_size(sent),
        )


def main() -> None:
    """Run the module."""
    run(
        Resource(desire, observe, report, plan, wait, secrets, client=Documents),
        ARGUMENT_SPEC,
        mutually_exclusive=[(name, "databases") for name in ("database", "documents", "src", "ids")],
        required_one_of=[("database", "databases"), ("documents", "src", "ids", "databases")],
    )


if __name__ == "__main__":
    main()
