# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""run(): from an Ansible module's options to its result, for every module.

    desire → observe → plan → apply → observe again → (wait) → report

This file has the only place that applies a plan, the only one that reports, and the only one that fails. A module
provides only the functions of its Resource. So check mode, diff mode and idempotence
are not features of a module: every module has them.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import typing as t
import warnings
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .. import errors
from .._client.answers import STRANGER
from .._client.connection import REQUESTS_IMPORT_ERROR
from .._client.parallel import attempt_in_parallel
from .._client.server import DEFAULT_URL, Server
from .._client.wait import within
from .._rules.secrets import MASK, Secrets, is_secret_header, url_secrets
from .._rules.urls import basic_credentials, in_clear_text, server_url
from .._rules.values import equal
from .plan import DONT, TRY, Change, Plan, diff, units
from .progress import requested

try:
    from ansible.module_utils.secrets import register_secrets
except ImportError:
    # Before 2.22, ansible-core masks the values in a module's no_log_values.
    register_secrets = None

HAS_REQUESTS = REQUESTS_IMPORT_ERROR is None

CONNECTION: dict[str, dict[str, t.Any]] = {
    "url": {"type": "str"},
    "login_user": {"type": "str"},
    "login_password": {"type": "str", "no_log": True},
    "cookie": {"type": "str", "no_log": True},
    "headers": {"type": "dict", "default": {}},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path"},
    "client_key_passphrase": {"type": "str", "no_log": True},
    "timeout": {"type": "int", "default": 30},
    "retries": {"type": "int", "default": 3},
}
"""The connection options of every module, which the documentation fragment C(connection) describes.

No module has an option of its own with one of these names, and they have no aliases: Ansible applies the defaults of the
action group to every module, and C(password) there would become the password of a managed user.

make_client() reads the environment, not Ansible: a value in the URL overrides one in the environment.
"""

LOGIN = {"username": "login_user", "password": "login_password"}
"""The Client's name of an option, and other common names → the module's name."""

_ATTEMPTS = 5
"""The number of plans in a task, if another client changes the server at the same time."""

_PAUSE = 1.0
"""Seconds between attempts after a node went down."""

_OVERTAKEN = (errors.Conflict, errors.AlreadyExists, errors.NotFound)

Params = t.Dict[str, t.Any]
_Server = t.TypeVar("_Server", bound=Server)


def _no_secrets(params: Params) -> t.Iterable[str]:
    return ()


def _no_beginning(client: Server, desired: t.Any) -> None:
    pass


def _no_waiting(client: Server, desired: t.Any, first: t.Any, observed: t.Any) -> t.Any:
    return observed


@dataclass(frozen=True)
class Resource:
    """What a module manages, as functions that run() calls in this order.

    * ``desire(params)`` returns the desired state, or raises InvalidInput. Only this function may read files of this
      host and generate salts: the same state is planned again if another client changes the server. Sends nothing.
    * ``observe(client, desired)`` returns the current state. Only reads, and changes nothing in ``desired``.
    * ``plan(desired, observed)`` returns the Plan. Pure. A module that only reads has none.
    * ``report(desired, observed, changes)`` returns what the module returns, from the state after the
      changes, or in check mode from the predicted state. Pure.

    ``begin(client, desired)`` is called before the first request, with what the client should know of the desired state.

    ``wait(client, desired, first, observed)``, of modules that can wait, is called in a real run once the server is as
    desired, changed or not: it reads until the effect is reached, returns the state then, and
    raises a CouchDBError if it is not reached in time. ``first`` is the first observed state, before any change.

    ``client`` is the part of Client that these functions and the changes of the plan need. Ansible sends a module with
    everything that it imports, and each task compiles that again; so a part that is not needed costs nothing.

    ``secrets(params)`` returns the secrets inside the options, beyond those marked C(no_log).

    ``confidential`` is the name of a boolean option that puts secrets into the result: it is refused unless the task
    has C(no_log=true).

    ``options`` is the argument spec without CONNECTION, ``constraints`` are those of AnsibleModule, such as
    C(mutually_exclusive).
    """

    desire: t.Callable[[Params], t.Any]
    observe: t.Callable[[t.Any, t.Any], t.Any]
    report: t.Callable[[t.Any, t.Any, list[Change]], dict[str, t.Any]]
    plan: t.Callable[[t.Any, t.Any], Plan] | None = None
    wait: t.Callable[[t.Any, t.Any, t.Any, t.Any], t.Any] = _no_waiting
    secrets: t.Callable[[Params], t.Iterable[str]] = _no_secrets
    client: type[Server] = Server
    confidential: str | None = None
    begin: t.Callable[[t.Any, t.Any], None] = _no_beginning
    options: Params = field(default_factory=dict)
    constraints: Params = field(default_factory=dict)


@dataclass
class Progress:
    """The progress of the changes: ``done`` with the server's answers, ``undone``, ``unsure`` and the ``failed`` one.

    A change is unsure if it was sent and no answer says whether it was made.
    """

    done: list[Change] = field(default_factory=list)
    undone: list[Change] = field(default_factory=list)
    unsure: list[Change] = field(default_factory=list)
    failed: list[Change] = field(default_factory=list)


@dataclass
class Outcome:
    """What run() reports: the changes that were made, or would be, and what the module returns.

    ``shortfall`` is the error that ends the task after these changes, for what the plan had to leave out.
    """

    changes: list[Change]
    returned: dict[str, t.Any]
    warnings: list[str]
    shortfall: errors.CouchDBError | None = None


class Interrupted(Exception):
    """A plan that stopped: the error that stopped it, and its progress."""

    def __init__(self, error: errors.CouchDBError, progress: Progress) -> None:
        super().__init__(str(error))
        self.error = error
        self.progress = progress


def run(resource: Resource) -> None:
    """Run a module from its options to its result: main() of every module with one resource."""
    module = Module(resource.secrets, {**CONNECTION, **resource.options}, **resource.constraints)
    try:
        if resource.confidential and module.params[resource.confidential] and not module.no_log:
            raise errors.InvalidInput(
                resource.confidential,
                "puts secrets into the result. Set no_log: true on the task, so that nothing logs it",
            )
        desired = resource.desire(module.params)
        client = module.client(resource.client)
    except errors.CouchDBError as error:
        module.fail_json(**failure(error, Progress()))
    result, _changes = module.carry_out(resource, desired, client)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


def make_client(params: Params, kind: type[_Server]) -> _Server:
    """The client that the connection options describe. Raises InvalidInput for a name without a password.

    The name and password come from the options, else from the URL, else from the environment.
    """
    environment = {name: os.environ.get(f"COUCHDB_{name.upper()}") or None for name in ("url", "username", "password")}
    url = params["url"] or environment["url"] or DEFAULT_URL
    given = server_url(url)
    username = params["login_user"] or given.username or environment["username"]
    password = params["login_password"] or None
    if password is None:
        password = given.password if username == given.username else environment["password"]
    if username and password is None and not params["cookie"]:
        raise errors.InvalidInput("login_password", "is missing. Set it with login_user")
    names = (
        "validate_certs",
        "ca_path",
        "client_cert",
        "client_key",
        "client_key_passphrase",
        "timeout",
        "retries",
    )
    options = {**{name: params[name] for name in names}, "username": username, "password": password}
    try:
        return kind(url, config=options, hthdrs=params["headers"], cookie=params["cookie"])
    except errors.InvalidInput as error:
        raise errors.InvalidInput(LOGIN.get(error.option, error.option), error.problem) from error


def connection_warnings(client: Server) -> t.Iterator[str]:
    """Warnings about the connection. They are the same in every task, so that Ansible shows them once."""
    if client.sends_in_clear and not client.is_local:
        yield in_clear_text(client.url)
    if client.trusts_anybody:
        yield f"validate_certs is false: any server that answers at {client.url} is trusted, and gets the credentials"


@contextlib.contextmanager
def understanding(client: Server) -> t.Iterator[None]:
    """Turn an exception from an answer of another shape than CouchDB's into an error that says so."""
    try:
        yield
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # The message of such an exception may contain the answer: its type and the request are enough.
        raise errors.NotCouchDB(
            f"an answer of {client.url} can't be understood ({type(error).__name__}; the last request was "
            f"{client.last_asked}): {STRANGER}, or couchpy.couchdb has a bug",
            status=200,
        ) from error


def carry_out(resource: Resource, desired: t.Any, client: Server, *, check_mode: bool) -> Outcome:
    """Observe, plan, and unless in check mode apply, until the server is as desired.

    If another client changes the server between reading and writing, it is read and planned again, a
    limited number of times. Raises Interrupted for an error after changes were made or sent, which lists them.
    """
    done: list[Change] = []
    try:
        with understanding(client):
            return _carried_out(resource, desired, client, check_mode, done)
    except errors.CouchDBError as error:
        if not done:
            raise
        raise Interrupted(error, Progress(done)) from error


def _carried_out(resource: Resource, desired: t.Any, client: Server, check_mode: bool, done: list[Change]) -> Outcome:
    """The work of carry_out(); ``done`` gets the changes that are made, also if an error follows."""
    resource.begin(client, desired)
    # First, with one request: is this CouchDB, and does it accept the login?
    client.welcome()
    make_plan = resource.plan or (lambda desired, observed: Plan(predicted=observed))
    first: t.Any = None
    for attempt in range(1, _ATTEMPTS + 1):
        observed = resource.observe(client, desired)
        first = observed if attempt == 1 else first
        plan = make_plan(desired, observed)
        if check_mode:
            return _outcome(resource, desired, plan, plan.predicted, done + list(plan.changes))
        if plan.unmet is not None:
            raise plan.unmet
        progress, error = apply(plan, client)
        done += progress.done
        if error is None:
            after, plan = _observed_again(resource, desired, client, plan) if plan.changes else (plan.predicted, plan)
            later = make_plan(desired, after) if plan.again or (plan.changes and plan.unanswered) else plan
            if isinstance(later.shortfall, errors.NodeDown) and not plan.shortfall:
                raise errors.NodeDown(f"{later.shortfall.down}: down since the changes. {plan.unanswered}")
            left = later.changes if plan.again else ()
            if left and attempt < _ATTEMPTS:
                continue
            if left:
                raise errors.CouchDBError(
                    f"the server is not as desired after {_ATTEMPTS} attempts. It still lacks: {errors.listed([*map(str, left)])}"
                )
            after = resource.wait(client, desired, first, after)
            if any(change.may_be_void for change in done):
                done[:] = _effective(done, make_plan(desired, after))
            return _outcome(resource, desired, plan, after, done)
        if not isinstance(error, _OVERTAKEN) or attempt == _ATTEMPTS:
            raise Interrupted(error, Progress(done, progress.undone, progress.unsure, progress.failed))
        if isinstance(error, errors.NodeDown):
            # A node that goes down is listed as connected for a moment longer; one that restarts is soon up again.
            time.sleep(_PAUSE)
    raise AssertionError("the last attempt ends with an outcome or an error")


def _outcome(resource: Resource, desired: t.Any, plan: Plan, after: t.Any, changes: list[Change]) -> Outcome:
    returned = resource.report(desired, after, changes)
    warnings = [
        *plan.warnings,
        *([f"{plan.unmet} (a real run fails, unless an earlier task changes that)"] if plan.unmet else []),
    ]
    return Outcome([change for change in changes if not change.is_void], returned, warnings, plan.shortfall)


def apply(plan: Plan, client: Server) -> tuple[Progress, errors.CouchDBError | None]:
    """Send a plan: stage after stage, the changes of one stage in parallel. Stops at the first error, and returns it."""
    progress = Progress()
    first_error: errors.CouchDBError | None = None
    for changes in plan.stages():
        if first_error is not None:
            progress.undone += changes
            continue
        sent = list(units(changes))
        # A node that is down does not affect the requests to the others.
        outcomes = attempt_in_parallel(lambda unit: send(unit, client), sent, harmless=(errors.NodeDown,))
        for unit, outcome in zip(sent, outcomes):
            if outcome is None:
                progress.undone += unit
                continue
            answers = [(None, outcome.error)] * len(unit) if outcome.result is None else outcome.result
            for change, (result, error) in zip(unit, answers):
                if change.may_be_void and isinstance(error, errors.NotFound) and not isinstance(error, errors.NodeDown):
                    # It is gone already, or is a default that can't be deleted: observing again shows which.
                    continue
                first_error = first_error or error
                place = progress.done if error is None else progress.unsure if error.unsure else progress.failed
                place.append(replace(change, result=result))
    return progress, first_error


def send(unit: list[Change], client: Server) -> list[tuple[t.Any, errors.CouchDBError | None]]:
    """Send one change, or several in bulk: call their method of the client, or of the database.

    Returns for each the result of the call, and its error, None for those that are done.
    """
    first = unit[0]
    target: t.Any = client
    if first.database is not None:
        target = target.Database(first.database)
    if client.sending is not None:
        for change in unit:
            client.sending(str(change))
    with understanding(client):
        if not first.bulk:
            return [(first.call(target, **first.arguments), None)]
        (name,) = first.arguments
        rows = first.call(target, **{name: [change.arguments[name] for change in unit]})
        return [(row, errors.of_row(row)) for row in rows]


def failure(error: errors.CouchDBError, progress: Progress) -> dict[str, t.Any]:
    """The arguments of fail_json: the request, the server's answer, and which changes were made."""
    changed = error.changed or not all(change.is_void for change in progress.done)
    result: dict[str, t.Any] = {"msg": str(error), "changed": changed, **errors.describe(error)}
    failed = progress.failed + progress.unsure
    if progress.done or failed:
        for name in ("done", "failed", "unsure", "undone"):
            result[f"changes_{name}"] = [str(change) for change in getattr(progress, name)]
    if failed:
        result["msg"] = f"{failed[0]}: {result['msg']}"
        if isinstance(error, errors.Conflict):
            result["msg"] += f" (another client changed it at each of {_ATTEMPTS} attempts. Run the task again)"
        if progress.done or progress.undone:
            left = progress.undone + progress.failed
            result["msg"] += f" ({_listed('made', progress.done)}; {_listed('not made', left)})"
        if progress.unsure:
            result["msg"] += f" ({_listed('sent without an answer that says whether they were made', progress.unsure)})"
    return result


def _listed(what: str, changes: list[Change]) -> str:
    names = errors.listed([str(change) for change in changes])
    return f"{len(changes)} changes {what}{': ' if names else ''}{names}"


def _observed_again(resource: Resource, desired: t.Any, client: Server, plan: Plan) -> tuple[t.Any, Plan]:
    """The state after the changes, and the plan, with a warning if the server may have moved out of sight, or stopped."""
    if plan.afterwards == DONT:
        return plan.predicted, plan
    try:
        with within(plan.limit):
            return resource.observe(client, desired), plan
    except errors.Unreachable as error:
        message = f"{error}. {plan.unanswered}"
        listens = plan.moved_to and client.listens(*plan.moved_to)
        if plan.afterwards == TRY and listens:
            return plan.predicted, plan
        if plan.afterwards == TRY and listens is None:
            return plan.predicted, replace(plan, warnings=(*plan.warnings, message))
        if not plan.unanswered:
            raise
        raise error.reworded(message, errors.Unreachable) from error


def _effective(done: list[Change], left: Plan) -> list[Change]:
    """The changes that changed something, with their results.

    A change that may be void and is planned again led to the state that the new plan finds, not to the desired one.
    """
    found = {(change.action, change.path): change.before for change in left.changes}
    effective = []
    for sent in done:
        void = sent.may_be_void and (sent.action, sent.path) in found
        change = replace(sent, after=found[sent.action, sent.path]) if void else sent
        if not equal(change.before, change.after):
            effective.append(change)
    return effective


class Watcher(t.Protocol):
    """Watches a module while it runs."""

    def progress(self, what: str, lacking: str, waited: float) -> None:
        """Called with the progress of every wait, see C(wait)."""

    def sending(self, change: str) -> None:
        """Called with each change right before it is sent, from the thread that sends it."""


class Module(AnsibleModule):
    """An AnsibleModule that carries out resources, and masks the secrets inside its options.

    ``secrets(params)`` returns these, from options that Ansible has accepted. It may raise InvalidInput, which ends the module.
    """

    params: Params
    no_log_values: set[str]

    WATCHER: t.ClassVar[Watcher | None] = None
    """Watches the module while it runs, in direct execution."""

    def __init__(self, secrets: t.Callable[[Params], t.Iterable[str]], spec: Params, **constraints: t.Any) -> None:
        self._secrets = secrets
        self._hiding = Secrets()
        self._options_accepted = False
        self._client: Server | None = None
        super().__init__(argument_spec=spec, supports_check_mode=True, **constraints)
        # A task with no_log is not logged, so that _log_invocation() is not called.
        if not self._options_accepted:
            self._accept_options()
        if not HAS_REQUESTS:
            self.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
        # They go to standard error, once for each request; connection_warnings() replaces them.
        warnings.filterwarnings("ignore", "Unverified HTTPS request")

    def client(self, kind: type[_Server]) -> _Server:
        """The client that the options describe. Warns about an insecure connection. Raises InvalidInput."""
        self._client = client = make_client(self.params, kind)
        progress_file = None if self.check_mode else requested()
        if self.WATCHER is not None:
            client.progress, client.sending = self.WATCHER.progress, self.WATCHER.sending
        elif progress_file is not None:
            client.progress = progress_file.progress
        for warning in connection_warnings(client):
            self.warn(warning)
        return client

    def carry_out(
        self, resource: Resource, desired: t.Any, client: Server, *, warn: bool = True
    ) -> tuple[Params, list[Change]]:
        """Carry out one resource. Return the module's result for it, and the changes that were made, or in check mode would be.

        C(failed) is true in a result for fail_json.
        """
        try:
            outcome = carry_out(resource, desired, client, check_mode=self.check_mode)
        except Interrupted as stop:
            return {"failed": True, **failure(stop.error, stop.progress)}, stop.progress.done
        except errors.CouchDBError as error:
            return {"failed": True, **failure(error, Progress())}, []
        for warning in outcome.warnings if warn else []:
            self.warn(warning)
        result: Params = {"changed": bool(outcome.changes), **outcome.returned}
        if self._diff and resource.plan:
            result["diff"] = diff(outcome.changes)
        if outcome.shortfall is not None:
            progress = Progress() if self.check_mode else Progress(outcome.changes)
            reported = {**failure(outcome.shortfall, progress), "changed": result["changed"]}
            if self.check_mode and isinstance(outcome.shortfall, errors.NodeDown):
                reported["msg"] = outcome.shortfall.in_check_mode or reported["msg"]
            result.update(reported, failed=True)
        return result, outcome.changes

    def _log_invocation(self) -> None:
        # Called when the options are checked and not yet logged: the last moment to mask what is inside them.
        self._accept_options()
        params = self.params
        self.params = self._hiding.mask_options(params)
        super()._log_invocation()
        self.params = params

    def _accept_options(self) -> None:
        found, refused = list(self.no_log_values), None
        try:
            # One by one: what came before a refusal is hidden in its message.
            for secret in self._hidden():
                found.append(secret)
        except errors.InvalidInput as error:
            refused = error
        self._hiding = Secrets(found)
        # Ansible masks each of these in every string of the result, also inside words, and one after the other; 2.22 and
        # later only in what is shown, not in what a playbook registers.
        self.no_log_values = self._hiding.for_ansible
        if register_secrets is not None:
            register_secrets(self.no_log_values)
        if refused is not None:
            self.fail_json(**self._hiding.mask_result(failure(refused, Progress())))
        self._options_accepted = True

    def warn(self, warning: str, **kwargs: t.Any) -> None:
        super().warn(self._hiding.mask_message(warning), **kwargs)

    def _close(self) -> None:
        # With direct execution, the process may continue with another task.
        if self._client is not None:
            self._client.close()

    def exit_json(self, **kwargs: t.Any) -> t.NoReturn:
        self._close()
        shown = self._shown(kwargs)
        # Everything is masked, and Ansible would search all of it again for each secret.
        self.no_log_values = set()
        super().exit_json(**shown)
        raise AssertionError("exit_json ends the module")

    def _shown(self, result: Params) -> Params:
        """A result without secrets, and with the options without secrets."""
        shown: Params = self._hiding.mask_result(result)
        shown.setdefault("invocation", {"module_args": self._hiding.mask_options(self.params)})
        return shown

    def fail_json(self, msg: str, **kwargs: t.Any) -> t.NoReturn:
        self._close()
        # Options that Ansible itself refuses were not searched for secrets: they are not shown.
        if not self._options_accepted:
            kwargs.setdefault("invocation", {"module_args": MASK})
        refused = re.match(r"Unsupported parameters for \(\S+\) module: (.*?)\. Supported", msg)
        for name in refused[1].split(", ") if refused else ():
            msg += f" To log in, use {LOGIN[name]} instead of {name}." if name in LOGIN else ""
        if self._options_accepted:
            msg, kwargs = self._hiding.mask_message(msg), self._shown(kwargs)
        super().fail_json(msg, **kwargs)
        raise AssertionError("fail_json ends the module")

    def _hidden(self) -> t.Iterator[str]:
        for secret in (self.params["login_password"], self.params.get("password")):
            if secret:
                yield quote(secret, safe="")
        # URLs are sometimes set in place of nodes' names.
        for address in (self.params["url"] or "", *(self.params.get("nodes") or [])):
            yield from url_secrets(address)
        for name, value in self.params["headers"].items():
            if is_secret_header(name):
                yield str(value)
                yield from (basic_credentials(str(value)) or ())[1:]
        yield from self._secrets(self.params)
