# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""run_all(): a module that combines several resources, carried out one after the other over one connection."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .. import errors
from .._client.server import Server
from .module import CONNECTION, Module, Params, Progress, Resource, failure, understanding
from .plan import Change

_SHARED = ("status", "error", "reason", *(f"changes_{became}" for became in ("done", "failed", "unsure", "undone")))
"""The fields of failure() for a part that become fields of the whole result."""


@dataclass(frozen=True)
class Part:
    """One of the resources that a module carries out one after the other.

    ``options``: the module's option → that of the resource. The first is the declaration itself: if it is empty,
    there is nothing to do.
    """

    resource: Resource
    options: dict[str, str]

    @property
    def declaration(self) -> str:
        """The module's option that declares this part."""
        return next(iter(self.options))

    def given(self, params: Params) -> Params:
        """The resource's options that a task sets; none if it declares nothing of it."""
        if not params[self.declaration]:
            return {}
        return {own: params[name] for name, own in self.options.items() if params[name] is not None}

    def desired(self, params: Params) -> t.Any:
        """The desired state by the resource's options. Raises InvalidInput, with the module's name of an option."""
        try:
            return self.resource.desire(params)
        except errors.InvalidInput as error:
            for name, own in self.options.items():
                if re.match(rf"{own}\b", error.option):
                    raise errors.InvalidInput(name + error.option[len(own) :], error.problem) from error
            raise


@dataclass(frozen=True)
class Extra:
    """What a server has beyond the declaration of a part: its names, and the entries that declare it absent."""

    names: list[str]
    absent: t.Any


@dataclass(frozen=True)
class Composition:
    """What a module with several resources manages: its parts in their order, and the client for all of them.

    ``extra(client, desired)`` reads what the server has beyond the declaration, by part; it is called if the
    option C(report_extra) is true or C(exclusive) names a part, whose extra things are then declared absent.
    ``check(params)`` raises InvalidInput for options that can't be combined.
    """

    parts: dict[str, Part]
    client: type[Server]
    options: Params
    extra: t.Callable[[t.Any, Params], dict[str, Extra]]
    check: t.Callable[[Params], None]


def run_all(composition: Composition) -> None:
    """Run a module from its options to its result. All options are checked before anything is sent."""
    given: dict[str, Params] = {}

    def secrets(params: Params) -> t.Iterator[str]:
        """The secrets in the options of each part, which are checked first and kept."""
        for name, part in composition.parts.items():
            options = part.given(params)
            if options:
                result = ArgumentSpecValidator(part.resource.options, **part.resource.constraints).validate(options)
                yield from result._no_log_values
                if result.error_messages:
                    raise errors.InvalidInput(name, "; ".join(result.error_messages))
                given[name] = result.validated_parameters
                yield from part.resource.secrets(given[name])

    module = Module(secrets, {**CONNECTION, **composition.options})
    try:
        composition.check(module.params)
        desired = {name: composition.parts[name].desired(options) for name, options in given.items()}
        client = module.client(composition.client)
        # A later part may change the password that the requests of an earlier one log in with.
        for name, wanted in desired.items():
            composition.parts[name].resource.begin(client, wanted)
        extra = _extra(composition, desired, client, module.params)
    except errors.CouchDBError as error:
        module.fail_json(**failure(error, Progress()))
    result = {**_carry_out(composition, desired, client, module), **extra}
    if "msg" in result:
        module.fail_json(**result)
    module.exit_json(**result)


def _extra(composition: Composition, desired: Params, client: Server, params: Params) -> Params:
    """The extra things as the module returns them. Those of exclusive parts are added to ``desired``, as absent."""
    exclusive = params["exclusive"]
    if not exclusive and not params["report_extra"]:
        return {}
    with understanding(client):
        client.welcome()
        found = composition.extra(client, desired)
    for name in composition.parts:
        if name not in exclusive or not found[name].names:
            continue
        part = composition.parts[name]
        options = part.given({**params, part.declaration: _together(params[part.declaration], found[name].absent)})
        validated = ArgumentSpecValidator(part.resource.options, **part.resource.constraints).validate(options)
        desired[name] = part.desired(validated.validated_parameters)
    ordered = {name: desired[name] for name in composition.parts if name in desired}
    desired.clear()
    desired.update(ordered)
    return {"extra": {name: extra.names for name, extra in found.items()}}


def _together(declared: t.Any, absent: t.Any) -> t.Any:
    """A declaration with further entries: a list, or a mapping of mappings."""
    if isinstance(absent, dict):
        return {
            name: {**(declared or {}).get(name, {}), **absent.get(name, {})} for name in {**(declared or {}), **absent}
        }
    return [*(declared or []), *absent]


def _carry_out(composition: Composition, desired: Params, client: Server, module: Module) -> Params:
    """What the module returns, with C(msg) if it failed.

    A part that fails ends the run. In check mode, the run continues if an earlier part would have changed something, as the
    failed part may depend on that: it is reported as failed, and warnings of such parts are not reported.
    """
    parts: dict[str, Params] = {}
    diffs: list[t.Any] = []
    done: list[Change] = []
    failed: Params = {}
    for name, wanted in desired.items():
        pending = module.check_mode and any(part["changed"] for part in parts.values())
        result, changes = module.carry_out(composition.parts[name].resource, wanted, client, warn=not pending)
        done += changes
        if "diff" in result:
            diffs.append({"before_header": name, "after_header": name, **result.pop("diff")})
        parts[name] = {"failed": False, **result}
        if parts[name]["failed"] and not pending:
            failed = {field: result[field] for field in _SHARED if field in result}
            failed["msg"] = f"{name}: {result['msg']}"
            if done:
                failed["changes_done"] = [str(change) for change in done]
            break
    return {
        **failed,
        "changed": any(part["changed"] for part in parts.values()),
        "parts": parts,
        "unchanged": [name for name, part in parts.items() if not part["changed"] and not part["failed"]],
        **({"diff": diffs} if module._diff else {}),
    }
