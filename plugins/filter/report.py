# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters report, report_html and report_markdown: a report on servers, from what tasks registered.

They import what they need when they are called: for one filter, Ansible loads those of all files, in each process of a task.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError


def report(
    hostvars: t.Any,
    hosts: t.Any,
    at: str,
    compared: str,
    info: str,
    cluster: str = "",
    title: str = "CouchDB servers",
    expiry_days: int = 30,
    previous: t.Any = None,
) -> dict[str, t.Any]:
    """The report as data: see docs/report.schema.json."""
    if isinstance(hosts, str):
        raise AnsibleFilterError("couchpy.couchdb.report: hosts: must be a list of names")
    from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import report as rules

    servers = [
        rules.Found(
            name=str(host),
            url=str(hostvars[host].get("couchdb_url") or ""),
            compared=hostvars[host].get(compared) or {},
            cluster=hostvars[host].get(cluster) or {},
            info=hostvars[host].get(info) or {},
        )
        for host in hosts
    ]
    return rules.report(servers, str(at), str(title), int(expiry_days), previous or None)


def report_html(data: t.Any, template: str) -> str:
    """The report as one page of HTML. Everything in the data is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(str(template)).render(report=data)


def report_markdown(data: t.Any) -> str:
    """The report as Markdown."""
    from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import report as rules

    return rules.markdown(data)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Give them by name."""
        return {"report": report, "report_html": report_html, "report_markdown": report_markdown}
