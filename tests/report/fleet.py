# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A made-up fleet for the tests of the report: servers of each kind, with hostile names in each place that has one."""

from __future__ import annotations

from typing import Any

from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import report

AT = "2026-01-02T03:04:05Z"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \"quoted\" 'single' {{ x }} | `a`"


def info(number: int, databases: int = 12) -> dict[str, Any]:
    """What couchdb_info returns for a server that answers; every third is a cluster."""
    nodes = [f"couchdb@10.0.{number}.{node}" for node in (1, 2, 3)] if number % 3 == 0 else [f"couchdb@10.0.{number}.1"]
    names = [f"db{count}" for count in range(databases)]
    degraded = number % 10 == 9
    ranges = ["00000000-7fffffff", "80000000-ffffffff"]
    return {
        "server": {"version": ("3.3.3", "3.4.3", "3.5.0", "3.10.0")[number % 4]},
        "cluster": {
            "health": "degraded" if degraded else "healthy",
            "problems": [f"{nodes[-1]} is a member and is not connected"] if degraded else [],
            "nodes": [
                {"name": name, "member": True, "connected": not degraded, "maintenance": False, "shards": 8}
                for name in nodes
            ],
        },
        "databases": [
            {
                "name": name,
                "exists": True,
                "info": {
                    "doc_count": 10**place,
                    "sizes": {"file": 7**place, "active": 5**place},
                    "cluster": {"q": 2, "n": len(nodes)},
                },
            }
            for place, name in enumerate(names)
        ],
        "replications": [
            {"name": "good", "state": "running", "info": {}},
            *(
                [{"name": "bad", "state": "crashing", "info": {"error": "econnrefused http://u:c4n4ry@h/"}}]
                if number % 7 == 3
                else []
            ),
        ],
        "certificate": {"not_after": "2026-02-01T00:00:00Z", "days_left": 29} if number % 20 == 5 else None,
        "shards": {
            "zones": dict(zip(nodes, ("east", "east", "west"), strict=False)),
            "databases": [
                {"name": name, "ranges": {one: nodes[place % 2 :] for place, one in enumerate(ranges)}}
                for name in names
            ],
        },
    }


def compared(number: int) -> dict[str, Any]:
    """What couchdb_server returns in check mode; every fourth server differs."""
    differs = number % 4 == 1
    parts = {part: {"changed": differs, "failed": False} for part in ("settings", "users")}
    diff = [
        {
            "before_header": "settings",
            "before": {"node": {"log": {"level": "debug"}, "cors": {"origins": "*"}}},
            "after": {"node": {"log": {"level": "info"}}},
        },
        {
            "before_header": "users",
            "before": {"ann": {"roles": ["boss"]}},
            "after": {"ann": {"roles": ["shop"]}, "bob": {"salt": "********"}},
        },
    ]
    return {
        "changed": differs,
        "parts": parts,
        "diff": diff if differs else [],
        "extra": {"databases": ["old_orders"] if number % 5 == 0 else [], "users": []},
    }


def servers(number: int) -> list[report.Found]:
    """So many servers. One does not answer, one refuses the login, one is hostile, where there are enough."""
    found = []
    for count in range(number):
        url = f"http://admin:c4n4ry@10.0.{count}.1:5984/"
        found.append(report.Found(f"db{count:03}.example.com", url, compared(count), {}, info(count)))
    if number > 3:
        found[1] = report.Found(
            "silent", "http://10.0.1.1:5984/", {}, {}, {"unreachable": True, "msg": "no route to http://u:c4n4ry@h"}
        )
        found[2] = report.Found("refuses", "", {}, {}, {"failed": True, "status": 401, "msg": "wrong password"})
        found[3] = hostile()
    return found


def hostile() -> report.Found:
    """A server whose every name is markup."""
    found = info(3)
    found["server"]["version"] = HOSTILE
    found["cluster"]["problems"] = [HOSTILE]
    for node in found["cluster"]["nodes"]:
        node["name"] += HOSTILE
    for database in (*found["databases"], *found["shards"]["databases"]):
        database["name"] += HOSTILE
    for database in found["shards"]["databases"]:
        database["ranges"] = {HOSTILE: [HOSTILE]}
    found["replications"] = [{"name": HOSTILE, "state": "crashing", "info": {"error": HOSTILE}}]
    parts = {
        "users": {"changed": True, "failed": False},
        "documents": {"changed": False, "failed": True, "msg": HOSTILE},
    }
    diff = [{"before_header": "users", "before": {HOSTILE: {"roles": [HOSTILE]}}, "after": {HOSTILE: {"roles": []}}}]
    result = {"changed": True, "parts": parts, "diff": diff, "extra": {"databases": [HOSTILE]}}
    return report.Found(HOSTILE, f"http://h/{HOSTILE}", result, {}, found)
