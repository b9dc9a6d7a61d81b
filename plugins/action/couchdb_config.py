# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_config on the controller."""

from __future__ import annotations

from ansible_collections.couchpy.couchdb.plugins.modules import couchdb_config
from ansible_collections.couchpy.couchdb.plugins.plugin_utils._action import ActionModule as _ActionModule


class ActionModule(_ActionModule):
    """Runs the module."""

    MODULE = couchdb_config
