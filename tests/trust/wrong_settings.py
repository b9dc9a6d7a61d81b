# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets wrong values for each setting of a disposable CouchDB, and prints which of them stop it.

``wrong_settings.py --etc DIR --restart COMMAND [--running COMMAND] [--features] [--foreseen] [--only SECTION[/KEY]] [--values V ...]``

COUCHDB_URL, COUCHDB_USERNAME and COUCHDB_PASSWORD name the server. DIR is its folder of ini files. The settings are those of
``DIR/default.ini``, commented ones too, those of NOT_LISTED below, and those that the collection has a rule for. COMMAND restarts the
server, or starts it if it is down, and ends at once. The command of ``--running`` ends with 0 while the server's process runs; it
saves the wait for a server that is gone.

What the rules of the collection refuse counts as foreseen. All else is set over HTTP, many settings at a time; then the server must
go on answering its admin, and do so again after a restart. When it does not, halves of the settings are tried until one is left. The
server is restored by its file: everything is written to ``DIR/local.d/zz-wrong-settings.ini``, which is then emptied and removed in the end.

``--features`` turns on what is off by default (TLS, the port of 5986, Prometheus' port, ...), whose settings are not read otherwise.
``--foreseen`` also gives the server, in its file and one at a time, each value that the rules refuse, and prints which of them stop it.

Ends with 1 when a setting stops the server that the rules don't refuse.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "tools")]

import tree

sys.path[:0] = [str(tree.link())]

from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import config
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import forms
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

Setting = tuple[str, str, str]

WRONG = ("wrong", "", "0", "-1", "1.5", "true", "{", "[wrong]", "99999999999999999999")

NOT_LISTED = {
    "chttpd": "WWW-Authenticate chunked_response_buffer stats_reporter valid_hosts validate_host backlog",
    "chttpd_auth": "allow_conflicted_user_docs x_auth_roles x_auth_token x_auth_username validate_user_doc",
    "couch_peruser": "cluster_quiet_period cluster_start_period",
    "couchdb": "delete_after_rename find_header_read_count idle_check_timeout max_pread_size read_repair_lag users_db_suffix "
    "max_couch_server_shards time_seq_min_time",
    "csp": "enable header_value",
    "database_compaction": "checkpoint_after doc_buffer_size",
    "global_changes": "allowed_owner",
    "httpd": "enable backlog",
    "httpsd": "server_options",
    "ioq": "reshard",
    "ioq.bypass": "compaction os_process read reshard shard_sync view_update write",
    "ken": "limit max_incremental_updates incremental_channels batch_channels",
    "log": "report_level syslog_enterprise_number",
    "mem3": "incomplete_ranges rev_chunk_size shard_write_timeout sync_batch_count sync_batch_size sync_delay sync_frequency "
    "writer_idle_timeout",
    "nouveau": "max_limit max_pipeline_size max_retries max_sessions",
    "query_server_config": "revs_limit",
    "replicator": "connection_close_interval health_threshold max_history session_min_update_interval update_docs",
    "replicator.shares": "_replicator",
    "reshard": "split_buffer_size store_state update_shardmap_timeout_sec shard_upate_timeout_msec",
    "smoosh": "cleanup_channels cleanup_index_files staleness wait_secs",
    "smoosh.ratio_dbs": "concurrency priority min_priority capacity from to strict_window max_priority min_size max_size min_changes",
    "ssl": "enable cacert_file cert_file key_file password ciphers ecc_curves fail_if_no_peer_cert secure_renegotiate signature_algs "
    "ssl_certificate_max_depth tls_versions verify_fun verify_ssl_certificates",
    "vhosts": "example.com",
    "view_compaction": "keyvalue_buffer_size recompact_retry_count",
    "view_updater": "queue_item_cap queue_memory_cap",
}
"""Settings that CouchDB 3.5.0 or 3.4.3 reads, and that its default.ini does not name."""

ALONE = {("mem3", "nodes_db"), ("mem3", "shards_db")}
"""Settings that are tried alone: with the same value, a database has the name of another."""

FILES = {("couchdb", "uri_file"), ("log", "file")}
"""Settings that name a file, which cannot have the name of a directory that another setting creates."""

FEATURES = """
[ssl]
enable = true
port = {tls_port}
cert_file = {certificate}
key_file = {key}
[httpd]
enable = true
port = {backend_port}
bind_address = 127.0.0.1
[prometheus]
additional_port = true
port = {prometheus_port}
bind_address = 127.0.0.1
[couch_peruser]
enable = true
[disk_monitor]
enable = true
[couch_scanner_plugins]
couch_scanner_plugin_ddoc_features = true
couch_scanner_plugin_find = true
"""

LIVES = 1.5
"""Seconds after which a server that still answers has outlived a change."""

STARTS = 240.0
"""Seconds within which a server answers after its start, however busy the machine is."""

NAMED = 6
"""Up to how many settings of a group are named when it was tried."""

PATIENCE = 60.0
"""Seconds within which a server that runs answers its admin."""


class Server:
    """The server: asked as its admin, restarted by a command, restored by its file."""

    def __init__(self, etc: Path, restart: str, running: str | None) -> None:
        parts = urlsplit(os.environ["COUCHDB_URL"])
        login = f"{os.environ['COUCHDB_USERNAME']}:{os.environ['COUCHDB_PASSWORD']}"
        self.host, self.port = parts.hostname or "", parts.port or 5984
        self.headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
        self.restart_command, self.running_command = restart, running
        self.file = etc / "local.d" / "zz-wrong-settings.ini"
        self.starts = 0

    def ask(self, method: str, path: str, body: object = None, timeout: float = 30) -> int | None:
        """The status of the answer, or None without one."""
        return self.answer(method, path, body, timeout)[0]

    def answer(self, method: str, path: str, body: object = None, timeout: float = 30) -> tuple[int | None, bytes]:
        """The status of the answer and its content; None and nothing without one."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {**self.headers, "Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return None, b""
        finally:
            connection.close()

    def answers(self) -> bool:
        """Whether the admin can read and write settings: whatever else is wrong can be taken back over HTTP then."""
        path = "/_node/_local/_config/wrong_settings/answers"
        end = time.monotonic() + PATIENCE
        while True:
            if self.ask("PUT", path, "yes") == 200 and self.ask("GET", path) == 200:
                return True
            if time.monotonic() > end or not self.runs():
                return False
            time.sleep(0.5)

    def runs(self) -> bool:
        """Whether its process runs, as far as that is known."""
        return (
            self.running_command is None
            or subprocess.run(self.running_command, shell=True, check=False, stderr=subprocess.DEVNULL).returncode == 0
        )

    def start(self, text: str) -> bool:
        """Start the server with this file. Returns whether it answers, and goes on answering."""
        self.file.write_text(text, encoding="latin-1")
        return self.restart()

    def restart(self) -> bool:
        """Start the server with the file as it is. Returns whether it answers, and goes on answering."""
        self.starts += 1
        subprocess.run(self.restart_command, shell=True, check=True)
        end = time.monotonic() + STARTS
        while time.monotonic() < end:
            if self.ask("GET", "/_up") is not None:
                time.sleep(LIVES)
                return self.answers()
            if not self.runs():
                return False
            time.sleep(0.3)
        return False

    def set(self, setting: Setting) -> int | None:
        """Set it over HTTP."""
        section, key, value = setting
        return self.ask("PUT", f"/_node/_local/_config/{quote(section, safe='')}/{quote(key, safe='')}", value)

    def settings(self) -> dict[str, dict[str, str]]:
        """All settings of the node."""
        found: dict[str, dict[str, str]] = json.loads(self.answer("GET", "/_node/_local/_config")[1])
        return found

    def use(self) -> None:
        """Send common requests, so that the tried settings take effect."""
        view = {"views": {"by": {"map": "function(doc) { emit(doc._id); }", "reduce": "_count"}}}
        self.ask("PUT", "/wrong-settings")
        self.ask("POST", "/wrong-settings/_bulk_docs", {"docs": [{"n": n} for n in range(3)]})
        self.ask("PUT", "/wrong-settings/_design/a", view)
        self.ask("GET", "/wrong-settings/_design/a/_view/by?limit=1")
        self.ask("POST", "/wrong-settings/_find", {"selector": {"n": 1}})
        self.ask("GET", "/_uuids?count=2")
        self.ask("POST", "/wrong-settings/_compact", {})
        self.ask("GET", "/_active_tasks")
        self.ask("GET", "/_scheduler/jobs")


def listed(path: Path) -> Iterator[tuple[str, str]]:
    """The sections and keys of a default.ini, including those in comments."""
    section = None
    for line in path.read_text(encoding="utf-8").splitlines():
        name = re.match(r"(?:; ?)?\[([\w.-]+)\]\s*(?:;.*)?$", line)
        pair = re.match(r"(?:; ?)?([A-Za-z_][\w./-]*) *=", line)
        if name:
            section = name.group(1)
        elif pair and section:
            yield section, pair.group(1)


def refused(setting: Setting, held: dict[str, dict[str, str]]) -> bool:
    """Whether couchdb_config refuses it, on a node that has these settings."""
    section, key, value = setting
    params = {"settings": {section: {key: value}}, "state": "present", "nodes": ["all"], "persist": True}
    try:
        config.plan(config.desire({**dict.fromkeys(config.ARGUMENT_SPEC), **params}), config.Observed({"node": held}))
    except InvalidInput:
        return True
    return False


def outlives(server: Server, group: list[Setting]) -> str | None:
    """When the server stops with these settings: at once, at the next start, or never (None)."""
    for setting in group:
        if server.set(setting) is None and not server.answers():
            return "at once"
    server.use()
    time.sleep(LIVES)
    if not server.answers():
        return "at once"
    return None if server.restart() else "at the next start"


def deadly(server: Server, group: list[Setting], base: str) -> list[tuple[Setting, str]]:
    """The settings that stop the server, and when they do."""
    if not group:
        return []
    end = outlives(server, group)
    names = ", ".join(f"{section}/{key}" for section, key, _value in group) if len(group) <= NAMED else ""
    print(f"  {len(group):4} settings, {group[0][2]!r}: {end or 'lives'} {names}".rstrip(), file=sys.stderr, flush=True)
    if not server.start(base) and not server.start(base):
        raise SystemExit(f"the server does not start any more, with nothing wrong in {server.file}")
    if end is None:
        return []
    if len(group) == 1:
        return [(group[0], end)]
    half = len(group) // 2
    return deadly(server, group[:half], base) + deadly(server, group[half:], base)


def features(server: Server, etc: Path) -> str:
    """An ini file that enables what is off by default."""
    certificate, key = etc / "wrong-settings-cert.pem", etc / "wrong-settings-key.pem"
    subprocess.run(
        [
            "openssl",
            *["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2", "-keyout"],
            str(key),
            "-out",
            str(certificate),
        ],
        check=True,
        capture_output=True,
    )
    ports = {f"{name}_port": server.port + n for n, name in enumerate(("tls", "backend", "prometheus"), 1)}
    return FEATURES.format(certificate=certificate, key=key, **ports)


def main() -> int:
    """Try them all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--etc", type=Path, required=True)
    parser.add_argument("--restart", required=True)
    parser.add_argument("--running")
    parser.add_argument("--features", action="store_true")
    parser.add_argument("--foreseen", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--values", nargs="+", default=WRONG)
    parser.add_argument("--group", type=int, default=1000)
    options = parser.parse_args()
    server = Server(options.etc, options.restart, options.running)
    server.file.parent.mkdir(exist_ok=True)
    names = {*listed(options.etc / "default.ini")}
    names |= {(section, key) for section, keys in NOT_LISTED.items() for key in keys.split()}
    names |= {name for name in forms.FORMS if not any("*" in part for part in name)}
    names = {name for name in names if not options.only or name[0] in options.only or "/".join(name) in options.only}
    base = features(server, options.etc) if options.features else ""
    tried = foreseen = stopped = 0
    missed: list[tuple[Setting, str]] = []
    if not server.start(base):
        raise SystemExit("the server does not answer its admin before anything is tried")
    held = server.settings()
    try:
        for value in options.values:
            settings = [(*name, value + ".file" if value and name in FILES else value) for name in sorted(names)]
            wrong = [setting for setting in settings if refused(setting, held)]
            rest = [setting for setting in settings if setting not in wrong]
            tried, foreseen = tried + len(settings), foreseen + len(wrong)
            for setting in wrong if options.foreseen else []:
                section, key, _value = setting
                if not server.start(f"{base}\n[{section}]\n{key} = {value}\n"):
                    stopped += 1
                    print(f"stops: {section}/{key} = {value!r}, foreseen", flush=True)
            if options.foreseen:
                server.start(base)
            groups = [rest[start : start + options.group] for start in range(0, len(rest), options.group)]
            for group in groups:
                for setting, end in deadly(server, [one for one in group if one[:2] not in ALONE], base):
                    missed.append((setting, end))
                    print(f"stops: {setting[0]}/{setting[1]} = {value!r} {end}, NOT FORESEEN", flush=True)
            for alone in [one for one in rest if one[:2] in ALONE]:
                for setting, end in deadly(server, [alone], base):
                    missed.append((setting, end))
                    print(f"stops: {setting[0]}/{setting[1]} = {value!r} {end}, NOT FORESEEN", flush=True)
    finally:
        server.file.unlink(missing_ok=True)
        subprocess.run(server.restart_command, shell=True, check=True)
        for path in options.etc.glob("wrong-settings-*.pem"):
            path.unlink()
    print(f"{len(names)} settings, {tried} values tried, {server.starts} starts")
    print(
        f"{foreseen} values foreseen" + (f", {stopped} of them stop the server in its file" if options.foreseen else "")
    )
    print(f"{len(missed)} deaths not foreseen")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
