# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report on servers, from the results of couchdb_server in check mode and of couchdb_info. Pure.

docs/report.schema.json describes what report() returns.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from . import differences
from .declaration import PARTS
from .secrets import mask_text, mask_url

VERSION = 1
"""The version of the schema."""

FAILING = ("crashing", "failed", "error")
"""The states of replications that fail: of CouchDB 2 and 3, and of 1.x."""

UNREACHABLE, FAILED = "unreachable", "failed"
"""The health of a server that Ansible or the module could not reach, and of one that refused to show it."""

_LARGEST = 20
"""The number of databases of a server that are listed with their sizes and shards: the largest ones."""

Entry = t.Dict[str, t.Any]
Result = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Found:
    """What the tasks returned for one server; an empty mapping for a task that did not run.

    C(compared) is the result of couchdb_server, C(cluster) of couchdb_cluster, C(info) of couchdb_info.
    """

    name: str
    url: str = ""
    compared: Result = field(default_factory=dict)
    cluster: Result = field(default_factory=dict)
    info: Result = field(default_factory=dict)


def report(
    servers: t.Sequence[Found], at: str, title: str, expiry_days: int = 30, previous: Result | None = None
) -> Entry:
    """The report as data that JSON can hold.

    ``at`` is the time of the report, ISO 8601 in UTC. ``previous`` is the last report, which says when a server that does not
    answer was seen. A certificate that expires within ``expiry_days`` days is a problem.
    """
    seen = {entry["name"]: entry["last_seen"] for entry in (previous or {}).get("servers", [])}
    found = [_server(one, at, seen.get(one.name), expiry_days) for one in servers]
    return {
        "schema_version": VERSION,
        "title": title,
        "at": at,
        "summary": {
            "servers": len(found),
            "unreachable": sum(entry["health"] in (UNREACHABLE, FAILED) for entry in found),
            "unhealthy": sum(entry["health"] in ("degraded", "down") for entry in found),
            "differing": sum(bool(entry["differences"]) for entry in found),
            "not_compared": sum(not entry["compared"] for entry in found),
            "failing_replications": sum(len(entry["failing_replications"]) for entry in found),
            "expiring": sum(1 for entry in found for one in entry["expires"] if one["soon"]),
        },
        "servers": found,
    }


def _server(one: Found, at: str, seen: str | None, expiry_days: int) -> Entry:
    info, compared = one.info, one.compared
    answered = bool(info) and not info.get("failed") and not info.get("unreachable")
    cluster = info.get("cluster") or {}
    databases = _databases(info.get("databases") or [])
    parts = differences.of_result(compared) + differences.of_cluster(one.cluster)
    return {
        "name": one.name,
        "url": mask_url(one.url),
        "version": (info.get("server") or {}).get("version"),
        "health": _health(info, answered),
        "problems": [mask_text(str(problem)) for problem in cluster.get("problems") or []],
        "error": _error(one),
        "last_seen": at if answered else seen,
        "members": _members(info),
        "databases": {
            "number": len(info.get("databases") or []),
            "bytes": sum(entry["bytes"] for entry in databases),
            "documents": sum(entry["documents"] for entry in databases),
            "largest": sorted(databases, key=lambda entry: (-entry["bytes"], entry["name"]))[:_LARGEST],
        },
        "compared": bool(compared.get("parts")) or (bool(compared) and not compared.get("failed") and answered),
        "differences": [{**part, "error": part["error"] and mask_text(part["error"])} for part in parts],
        "not_declared": {part: list((compared.get("extra") or {}).get(part) or []) for part in PARTS},
        "replications": len(info.get("replications") or []),
        "failing_replications": [
            {
                "name": row.get("name"),
                "state": str(row.get("state")),
                "error": mask_text(str((row.get("info") or {}).get("error") or "")),
            }
            for row in info.get("replications") or []
            if row.get("state") in FAILING
        ],
        "expires": _expires(info.get("certificate"), expiry_days),
        "shards": _shards(info, databases),
    }


def _health(info: Result, answered: bool) -> str:
    if answered:
        return str((info.get("cluster") or {}).get("health") or "unknown")
    if not info:
        return "unknown"
    return UNREACHABLE if info.get("unreachable") or info.get("status") is None else FAILED


def _error(one: Found) -> str | None:
    for result in (one.info, one.compared, one.cluster):
        if result.get("failed") or result.get("unreachable"):
            return mask_text(str(result.get("msg") or "failed"))
    return None


def _members(info: Result) -> list[Entry]:
    zones = (info.get("shards") or {}).get("zones") or {}
    members = [
        {
            "name": node["name"],
            "connected": bool(node["connected"]),
            "maintenance": bool(node.get("maintenance")),
            "shards": node.get("shards"),
            "zone": zones.get(node["name"]),
        }
        for node in (info.get("cluster") or {}).get("nodes") or []
        if node.get("member")
    ]
    return sorted(members, key=lambda member: (member["zone"] or "", member["name"]))


def _databases(found: t.Iterable[Result]) -> list[Entry]:
    databases = []
    for entry in found:
        info = entry.get("info") or {}
        sizes, placed = info.get("sizes") or {}, info.get("cluster") or {}
        databases.append(
            {
                "name": entry["name"],
                "documents": int(info.get("doc_count") or 0),
                "bytes": int(sizes.get("file") or info.get("disk_size") or 0),
                "active_bytes": int(sizes.get("active") or info.get("data_size") or 0),
                "shards": placed.get("q"),
                "replicas": placed.get("n"),
            }
        )
    return databases


def _expires(certificate: Result | None, expiry_days: int) -> list[Entry]:
    if not certificate or certificate.get("not_after") is None:
        return []
    days = certificate.get("days_left")
    return [
        {
            "what": "TLS certificate",
            "at": certificate["not_after"],
            "days": days,
            "soon": days is not None and days <= expiry_days,
        }
    ]


def _shards(info: Result, databases: t.Sequence[Entry]) -> list[Entry]:
    """Where the copies of the largest databases are, of a cluster with several nodes."""
    if len(_members(info)) < 2:
        return []
    sizes = {entry["name"]: entry["bytes"] for entry in databases}
    placed = (info.get("shards") or {}).get("databases") or []
    largest = sorted(placed, key=lambda entry: (-sizes.get(entry["name"], 0), entry["name"]))[:_LARGEST]
    return [
        {
            "database": entry["name"],
            "ranges": [{"range": name, "nodes": list(nodes)} for name, nodes in sorted(entry["ranges"].items())],
        }
        for entry in largest
    ]


def markdown(data: Result) -> str:
    """The report as Markdown, for a pull request."""
    summary = data["summary"]
    rows = [
        f"# {_cell(data['title'])}",
        "",
        f"{data['at']}: {summary['servers']} servers, {summary['differing']} differ, {summary['unhealthy']} not healthy, "
        f"{summary['unreachable']} unreachable, {summary['failing_replications']} replications fail, "
        f"{summary['expiring']} certificates expire soon.",
        "",
        "| server | version | health | members | databases | differs | failing replications | expires | last seen |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for server in data["servers"]:
        parts = ", ".join(part["part"] for part in server["differences"])
        cells = [
            server["name"],
            server["version"] or "",
            server["health"],
            str(len(server["members"]) or ""),
            str(server["databases"]["number"]),
            parts or ("no" if server["compared"] else "not compared"),
            ", ".join(str(row["name"]) for row in server["failing_replications"]),
            ", ".join(f"{one['what']}: {one['days']} days" for one in server["expires"]),
            server["last_seen"] or "never",
        ]
        rows.append("| " + " | ".join(map(_cell, cells)) + " |")
    for server in data["servers"]:
        said = differences.sentences(server["differences"])
        said += [f"{part}, not declared: {', '.join(names)}" for part, names in server["not_declared"].items() if names]
        said += [*server["problems"], *([server["error"]] if server["error"] else [])]
        if said:
            rows += ["", f"## {_cell(server['name'])}", "", *(f"- {_cell(sentence)}" for sentence in said)]
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    """A string in Markdown, with nothing in it that would be markup."""
    escaped = "".join("\\" + sign if sign in "\\`*_{}[]<>|#~" else sign for sign in str(text))
    return " ".join(escaped.split())
