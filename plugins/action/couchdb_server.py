# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_server on the controller: reads each ``src`` in ``documents`` there, as couchdb_document does."""

from __future__ import annotations

import typing as t

from ansible_collections.couchpy.couchdb.plugins.action.couchdb_document import ActionModule as _DocumentAction
from ansible_collections.couchpy.couchdb.plugins.modules import couchdb_server


class ActionModule(_DocumentAction):
    """Runs the module with each ``src`` replaced by a file on its host, unless ``remote_src`` is set."""

    MODULE = couchdb_server

    def _with_documents(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        return self._with_files(arguments, "documents")
