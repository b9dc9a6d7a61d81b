# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options of an index, for couchdb_index and couchdb_server."""

from __future__ import annotations

from textwrap import indent

_OPTIONS = r"""
name:
  description:
    - Name of the index. If not set, CouchDB derives one from the definition.
  type: str
ddoc:
  description:
    - Name of the design document that contains the index, with or without C(_design/). If not set, CouchDB creates one for this index.
    - A design document that contains anything else than Mango indexes is refused.
  type: str
fields:
  description:
    - Fields of the index, in their order. Required if the index is to exist.
    - With C(type=json), each is a name, or a mapping of a name to V(asc) or V(desc), the same for all fields. A dot leads into an object.
    - With the other types, each is a mapping with C(name) and C(type). The C(type) of a field is V(string), V(number), V(boolean), or with
      C(type=nouveau) V(text). Without C(fields), these types index all fields.
  type: list
  elements: raw
selector:
  description:
    - Which documents are in the index, as a selector (CouchDB's C(partial_filter_selector)). If not set, all documents are.
    - Selectors with the same meaning do not differ.
  type: dict
type:
  description:
    - Type of the index. V(text) requires a CouchDB with Clouseau, V(nouveau) requires CouchDB 3.4 with Nouveau.
    - If not set, V(json). With C(state=absent) and a C(name), any type.
    - An index of another type with the same C(ddoc) and C(name) is replaced.
  type: str
  choices: [json, text, nouveau]
partitioned:
  description:
    - Whether the index is for queries within one partition of a partitioned database. Requires CouchDB 3.0.
    - If not set, a new index is like its design document, or else like its database, and an existing index stays as it is.
    - It is the same for all indexes of a design document, and CouchDB cannot change it.
  type: bool
default_analyzer:
  description:
    - Analyzer of the fields of a text index, by its name or as CouchDB's mapping. If not set, V(keyword).
  type: raw
default_field:
  description:
    - The field of a text index that contains the text of all others, which C($text) searches.
  type: dict
  suboptions:
    enabled:
      description:
        - Whether the index has this field. If not set, V(true).
      type: bool
    analyzer:
      description:
        - Its analyzer. If not set, V(standard).
      type: str
index_array_lengths:
  description:
    - Whether a text index contains the lengths of arrays, which C($size) requires. If not set, V(true).
  type: bool
"""

_ENTRY = r"""
database:
  description:
    - Name of the database. It must exist. If not set, the C(database) of the task applies.
  type: str
state:
  description:
    - V(present) ensures that the index exists, V(absent) removes it. If not set, the C(state) of the task applies, else V(present).
  type: str
  choices: [present, absent]
"""


class ModuleDocFragment:
    """C(couchpy.couchdb.indexes) for couchdb_index, C(.server) for couchdb_server."""

    DOCUMENTATION: str = f"""
options:
{indent(_OPTIONS, "  ")}
  indexes:
    description:
      - Several indexes, each with the options of a single one. O(database) and O(state) apply to the indexes that do not set them.
    type: list
    elements: dict
    suboptions:
{indent(_ENTRY + _OPTIONS, "      ")}
"""

    SERVER: str = f"""
options:
  indexes:
    description:
      - Indexes, as M(couchpy.couchdb.couchdb_index) manages them.
    type: list
    elements: dict
    suboptions:
{indent(_ENTRY + _OPTIONS, "      ")}
"""
