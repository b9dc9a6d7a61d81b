# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""couchdb_document on the controller: reads ``src`` there and transfers the documents to the module's host as one file."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFileNotFound
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import couchapp
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput
from ansible_collections.couchpy.couchdb.plugins.modules import couchdb_document
from ansible_collections.couchpy.couchdb.plugins.plugin_utils._action import ActionModule as _ActionModule


class ActionModule(_ActionModule):
    """Runs the module with each ``src`` replaced by a file on its host, unless ``remote_src`` is set."""

    MODULE = couchdb_document

    def _arguments(self) -> dict[str, t.Any]:
        arguments = super()._arguments()
        # The module refuses invalid values.
        remote = arguments.get("remote_src")
        if isinstance(remote, (bool, int, str)) and boolean(remote, strict=False):
            return arguments
        return self._with_documents(arguments)

    def _with_documents(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        """The arguments with each ``src``, also those of several databases, replaced by a file on the module's host."""
        return t.cast("dict[str, t.Any]", self._with_file(self._with_files(arguments, "databases"), 0))

    def _with_files(self, arguments: dict[str, t.Any], databases: str) -> dict[str, t.Any]:
        """The arguments with each ``src`` in the list of that name replaced."""
        several = arguments.get(databases)
        if not isinstance(several, list):
            return arguments
        return {**arguments, databases: [self._with_file(given, number) for number, given in enumerate(several, 1)]}

    def _with_file(self, given: t.Any, number: int) -> t.Any:
        if isinstance(given, dict) and isinstance(given.get("src"), str) and given["src"]:
            return {**given, "src": self._sent(given["src"], number)}
        return given

    def _sent(self, src: str, number: int) -> str:
        """The path, on the module's host, of a file that holds the documents of ``src``."""
        try:
            found = self._find_needle("files", src)
            documents = couchapp.pack(couchapp.read(found, self._read))
        except AnsibleFileNotFound as error:
            raise InvalidInput("src", str(error)) from error
        return self._file(f"documents-{number}.json", documents)

    def _read(self, path: str) -> bytes:
        """The content of a file on the controller, decrypted if Ansible Vault encrypted it."""
        real = self._loader.get_real_file(path)
        try:
            with open(real, "rb") as opened:
                return opened.read()
        finally:
            self._loader.cleanup_tmp_file(real)
