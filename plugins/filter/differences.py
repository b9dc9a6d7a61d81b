# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter differences: what differs between servers and their declarations, from what tasks registered.

It imports what it needs when it is called: for one filter, Ansible loads those of all files, in each process of a task.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError


def differences(hostvars: t.Any, hosts: t.Any, compared: str, cluster: str = "") -> list[str]:
    """The lines of a list: each host that differs, and what differs there."""
    from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import differences as rules

    if isinstance(hosts, str):
        raise AnsibleFilterError("couchpy.couchdb.differences: hosts: must be a list of names")
    said = []
    for host in hosts:
        registered = hostvars[host]
        found = rules.of_result(registered.get(compared) or {})
        if cluster:
            found += rules.of_cluster(registered.get(cluster) or {})
        said += [f"{host}: {sentence}" for sentence in rules.sentences(found)]
    return said


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., list[str]]]:
        """Give them by name."""
        return {"differences": differences}
