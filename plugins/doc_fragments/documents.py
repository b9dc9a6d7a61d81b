# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options of the documents of a database, for couchdb_document and couchdb_server."""

from __future__ import annotations

from textwrap import indent

_OPTIONS = r"""
documents:
  description:
    - The documents, each a mapping with its C(_id). They may be given as read from CouchDB. The fields that CouchDB adds to a document
      are ignored, including C(_rev).
    - Attachments are given in C(_attachments), as a mapping of names to C(content_type) and C(data) in Base64. Attachments that do not
      differ are not sent again.
    - With C(state=absent), only C(_id) counts. Conflicting revisions of a document are deleted with it.
  type: list
  elements: dict
src:
  description:
    - A JSON file or a directory to read documents from. It is searched for where P(ansible.builtin.copy#module) searches, first in
      C(files) of the role or playbook, and read on the controller, unless C(remote_src=true). Files that Ansible Vault encrypted are
      decrypted.
    - 'A JSON file contains a document, a list of documents, or an object with such a list in C(docs). A document without C(_id) gets the name of its file.'
    - A directory is a database. C(NAME.json) and the directory C(NAME) in it are the document C(NAME). Those in its directories C(_design)
      and C(_local) are the documents C(_design/NAME) and C(_local/NAME).
    - A document that is a directory has a field for each file and directory in it, named without the last extension, such as
      C(_design/app/views/by-date/map.js). Files with the extension C(.json) are read as JSON, all others as strings without spaces and
      line ends around them. A file C(_id) sets the id of the document. Files in C(_attachments) become attachments.
    - A directory that contains a file C(_id) or a directory C(_attachments), or is in a directory C(_design) or C(_local), is a single
      document.
    - Hidden files, files that end with C(~), and C(_security.json) are ignored.
      M(couchpy.couchdb.couchdb_database) sets security objects.
  type: path
ids:
  description:
    - Ids of documents to delete, with C(state=absent).
  type: list
  elements: str
"""

_ENTRY = r"""
database:
  description:
    - Name of the database. It must exist.
  type: str
  required: true
state:
  description:
    - V(present) ensures that the documents exist, V(absent) deletes them. If not set, the C(state) of the task applies, else V(present).
  type: str
  choices: [present, absent]
mode:
  description:
    - V(replace) ensures that a document has exactly the given fields, V(merge) keeps its other fields and attachments. If not set, the
      C(mode) of the task applies, else V(replace).
  type: str
  choices: [replace, merge]
build:
  description:
    - Whether to wait until the views of the design documents are built. If not set, the C(build) of the task applies, else V(false).
  type: bool
staged:
  description:
    - Whether to build the views of a design document before it is written, so that queries never wait for them. If not set, the
      C(staged) of the task applies, else V(false).
  type: bool
"""


class ModuleDocFragment:
    """C(couchpy.couchdb.documents) for couchdb_document, C(.server) for couchdb_server."""

    DOCUMENTATION: str = f"""
options:
{indent(_OPTIONS, "  ")}
  databases:
    description:
      - Several databases with their documents. O(state), O(mode), O(build) and O(staged) apply to the databases that do not set them.
    type: list
    elements: dict
    suboptions:
{indent(_ENTRY + _OPTIONS, "      ")}
"""

    SERVER: str = f"""
options:
  documents:
    description:
      - Databases with their documents, as M(couchpy.couchdb.couchdb_document) manages them.
    type: list
    elements: dict
    suboptions:
{indent(_ENTRY + _OPTIONS, "      ")}
"""
