# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documents, including design documents: what couchdb_document declares, observes, plans and reports."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._client.documents import DesignDatabase, Documents
from .._engine.entries import entries
from .._engine.module import Resource
from .._engine.plan import Change, Method, Plan, missing_databases
from .._rules import documents as rules
from .._rules.documents import STAGED, Key, Wanted, rev_of
from .._rules.secrets import document_secrets
from ..errors import InvalidInput

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
    """The declared documents by database and id, and how long to wait for their views, in seconds."""

    wanted: dict[Key, Wanted]
    wait_timeout: int


@dataclass(frozen=True)
class Observed:
    """The current state: the revisions of documents that are as desired, None for none, and those that differ, in full.

    ``missing`` has missing databases; ``limit`` is the largest document, in bytes, that the server accepts.
    """

    revs: dict[Key, str | None]
    differing: dict[Key, dict[str, t.Any] | None]
    missing: frozenset[str]
    limit: int | None = None


def desire(params: dict[str, t.Any]) -> Desired:
    """The documents, checked, including those in files. Raises InvalidInput for bad ones and duplicates."""
    wanted: dict[Key, Wanted] = {}
    for options, where in entries(params, "databases", ("state", "mode", "build", "staged")):
        for one in rules.declared(options, where):
            if one.key in wanted:
                places = f"{wanted[one.key].where} and {one.where}"
                raise InvalidInput(f"{where}documents", f"the document {one.id} has two sources: {places}")
            wanted[one.key] = one
    if params["wait_timeout"] < 1:
        raise InvalidInput("wait_timeout", f"is {params['wait_timeout']}. Set 1 or more")
    return Desired(wanted, params["wait_timeout"])


def observe(client: Documents, desired: Desired) -> Observed:
    """The documents in bulk. Of those that are as desired only the revision is kept."""
    wanted = desired.wanted
    portions = client.documents(rules.reading(wanted.values()), lambda *portion: rules.compared(wanted, *portion))
    revs = {key: rev for found in portions for key, rev in found.revs.items()}
    differing = {key: current for found in portions for key, current in found.differing.items()}
    unsure = [(*key, name) for key, current in differing.items() for name in rules.undecided(wanted[key], current)]
    for (database, docid, name), content in zip(unsure, client.attachments(unsure)):
        differing[database, docid]["_attachments"][name]["digest"] = rules.digest(content)
    missing = frozenset(found.database for found in portions if found.missing)
    return Observed(revs, differing, missing, client.max_document_size() if differing else None)


def plan(desired: Desired, observed: Observed) -> Plan:
    """The documents to write and delete."""
    changes: list[Change] = []
    revs = {key: rev_of(current) for key, current in observed.differing.items()}
    for key, current in observed.differing.items():
        one = desired.wanted[key]
        document = rules.to_write(one, current, observed.limit)
        if document is not current:
            revs[key] = None
            changes += _changes(one, current, document, desired.wait_timeout)
    switched = {change.path for change in changes if change.call is DesignDatabase.switch_design_document}
    left_over = {
        key for key, one in desired.wanted.items() if one.left_over and (key[0], key[1][: -len(STAGED)]) in switched
    }
    needed = (key[0] for key, one in desired.wanted.items() if one.present)
    return Plan(
        tuple(change for change in changes if change.path not in left_over),
        Observed({**observed.revs, **revs}, {}, frozenset()),
        unmet=missing_databases(name for name in needed if name in observed.missing),
    )


def wait(client: Documents, desired: Desired, first: Observed, observed: Observed) -> Observed:
    """The state once the views that the task waits for are built."""
    building = [one for one in desired.wanted.values() if one.is_design and one.present and (one.build or one.staged)]
    client.build_views([(*one.key, rules.views(one.document)) for one in building], desired.wait_timeout)
    return observed


def report(desired: Desired, observed: Observed, changes: list[Change]) -> dict[str, list[dict[str, t.Any]]]:
    """The documents in the order of the task."""
    current = {**observed.revs, **{key: rev_of(there) for key, there in observed.differing.items()}}
    done = {change.path: f"{change.action}d" for change in changes}
    return {
        "documents": [
            {"database": key[0], "id": key[1], "rev": current[key], "status": done.get(key, "unchanged")}
            for key, one in desired.wanted.items()
            if not one.left_over
        ]
    }


def secrets(params: dict[str, t.Any]) -> set[str]:
    """The fields that are secret by their name."""
    return document_secrets([options["documents"] for options in [params, *(params["databases"] or [])]])


def _changes(one: Wanted, current: dict[str, t.Any] | None, document: t.Any, wait_timeout: int) -> t.Iterator[Change]:
    """The changes that make a document what it should be: one, or a deletion for each of its conflicting revisions.

    Design documents come first, as they may validate the others.
    """
    action = "create" if current is None else "update" if document else "delete"
    before, after = rules.shown(current), rules.shown(document)
    stage = 0 if one.is_design else 1
    if one.is_design and document:
        arguments = {"document": document, "files": one.files}
        call: Method = DesignDatabase.put_design_document
        # In a language that the server may not have, views are built first: what can't be built is not written.
        staged = one.staged or (one.build and not rules.has_known_language(document))
        if staged and rules.needs_building(document, current):
            call, arguments["wait_timeout"] = DesignDatabase.switch_design_document, wait_timeout
        yield Change(
            action=action,
            what="document",
            path=one.key,
            before=before,
            after=after,
            call=call,
            arguments=arguments,
            database=one.database,
            stage=stage,
        )
        return
    for sent in [document] if document else rules.deletions(current or {}):
        yield Change(
            action=action,
            what="document",
            path=one.key,
            before=before,
            after=after,
            call=DesignDatabase.bulk_docs,
            arguments={"documents": sent},
            database=one.database,
            stage=stage,
            bulk=True,
            size=rules.sent_size(sent),
        )


RESOURCE = Resource(
    desire,
    observe,
    report,
    plan,
    wait,
    secrets,
    client=Documents,
    options=ARGUMENT_SPEC,
    constraints={
        "mutually_exclusive": [(name, "databases") for name in ("database", "documents", "src", "ids")],
        "required_one_of": [("database", "databases"), ("documents", "src", "ids", "databases")],
    },
)
