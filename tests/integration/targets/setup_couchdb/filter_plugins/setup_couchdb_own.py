# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter setup_couchdb_own: of the result of a task, what the module itself returned.

From ansible-core 2.21 on, a result in failed_when also holds the loop's item and an exception that shows the playbook's
lines, with the secrets that the test wrote there.
"""

from __future__ import annotations

from typing import Any

ANSIBLES = {"item", "exception", "failed_when_result", "failed_when_suppressed_exception"}


def own(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result without what Ansible adds to it."""
    return {name: value for name, value in result.items() if name not in ANSIBLES and not name.startswith("ansible_")}


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"setup_couchdb_own": own}
