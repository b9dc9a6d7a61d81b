# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The lookup variable_files: the files of variables that declare a server as it is."""

from __future__ import annotations

DOCUMENTATION = r"""
name: variable_files
short_description: Files of variables that declare a CouchDB server as it is
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Takes a declaration that M(couchpy.couchdb.couchdb_info) gathered with O(couchpy.couchdb.couchdb_info#module:include_secrets=true), and
    returns the files to write so that the role couchpy.couchdb.server declares the server as it is.
  - C(couchdb.yml) has the variables of the role. Each secret in it is a reference to a variable in C(vault.yml), which is encrypted with the
    vault secrets that the run was given.
  - It writes nothing itself. Files that exist with the same content are not returned.
options:
  _terms:
    description:
      - The declaration.
    type: list
    elements: dict
    required: true
  directory:
    description:
      - Directory on the controller for the files, such as C(host_vars/db1).
    type: path
    required: true
  overwrite:
    description:
      - Whether to return files that exist with other content. If V(false), the lookup fails for such files.
    type: bool
    default: false
  vault_id:
    description:
      - ID of the vault secret to encrypt with. If not set, the one that C(ansible-vault) would use.
    type: str
  login:
    description:
      - Name of the admin that the role logs in as, which it declares by itself.
    type: str
  more:
    description:
      - Further variables for C(couchdb.yml). None of them is a secret.
    type: dict
    default: {}
notes:
  - If there is a file with the name of O(directory) and an extension, such as C(host_vars/db1.yml), the lookup fails, as Ansible would no longer
    read that file next to a directory.
seealso:
  - module: couchpy.couchdb.couchdb_info
"""

EXAMPLES = r"""
- name: Gather the declaration
  couchpy.couchdb.couchdb_info:
    gather_subset: [declaration]
    include_secrets: true
  no_log: true
  register: couch

- name: Write it to host_vars
  ansible.builtin.copy:
    content: "{{ item.content }}"
    dest: "{{ item.path }}"
    mode: "{{ item.mode }}"
  loop: "{{ query('couchpy.couchdb.variable_files', couch.declaration, directory=inventory_dir ~ '/host_vars/' ~ inventory_hostname) }}"
  delegate_to: localhost
"""

RETURN = r"""
_raw:
  description: The files to write.
  type: list
  elements: dict
  contains:
    path:
      description: Path of the file.
      type: str
      sample: host_vars/db1/couchdb.yml
    content:
      description: Its content. That of C(vault.yml) is encrypted.
      type: str
    mode:
      description: Its permissions.
      type: str
      sample: '0600'
"""

import os
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleLookupError
from ansible.parsing.vault import AnsibleVaultError, VaultLib, match_encrypt_secret
from ansible.plugins.lookup import LookupBase
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import adoption
from ansible_collections.couchpy.couchdb.plugins.plugin_utils import _variables_file as variables_file

PLAIN = "couchdb.yml"
VAULT = "vault.yml"
EXTENSIONS = (".yml", ".yaml", ".json")
WORDS = {
    PLAIN: "The CouchDB server as it was found. The role couchpy.couchdb.server declares it by these variables.",
    VAULT: f"The secrets that {PLAIN} refers to.",
}


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible-core has no types
    """The lookup."""

    def run(
        self, terms: list[t.Any], variables: dict[str, t.Any] | None = None, **kwargs: t.Any
    ) -> list[dict[str, str]]:
        """The files of the declaration. Raises AnsibleLookupError before anything is written."""
        self.set_options(var_options=variables, direct=kwargs)
        if len(terms) != 1 or not hasattr(terms[0], "items"):
            raise AnsibleLookupError("variable_files: takes one declaration, as couchdb_info returns it")
        directory = os.path.abspath(self.get_option("directory"))
        for extension in EXTENSIONS:
            if os.path.exists(directory + extension):
                raise AnsibleLookupError(
                    f"variable_files: {directory}{extension} exists, and Ansible would no longer read it next to the directory "
                    f"{directory}. Move it to {directory}/main.yml"
                )
        plain, secrets = adoption.variables(_unwrapped(terms[0]), self.get_option("login"))
        plain = {**_unwrapped(self.get_option("more")), **variables_file.protected(plain, secrets)}
        wanted = {PLAIN: variables_file.text(plain, WORDS[PLAIN])}
        if secrets:
            wanted[VAULT] = variables_file.text(secrets, WORDS[VAULT])
            # Without a password nothing is compared or written.
            self._secret()
        return [
            {"path": path, "content": content, "mode": "0600" if name == VAULT else "0644"}
            for name, path, content in (
                (name, os.path.join(directory, name), content) for name, content in wanted.items()
            )
            for content in self._to_write(name, path, content)
        ]

    def _to_write(self, name: str, path: str, content: str) -> list[str]:
        """The content to write to a file: none if it has that already."""
        if os.path.exists(path):
            if self._content(path) == content:
                return []
            if not self.get_option("overwrite"):
                raise AnsibleLookupError(
                    f"variable_files: {path} exists with other content. Set overwrite to true, or move the file away"
                )
        return [self._encrypted(content) if name == VAULT else content]

    def _content(self, path: str) -> str | None:
        """The content of a file, decrypted; None if this run has no password for it."""
        try:
            real = self._loader.get_real_file(path)
        except Exception as error:
            if isinstance(error, AnsibleVaultError) or isinstance(error.__cause__, AnsibleVaultError):
                return None
            raise
        try:
            with open(real, encoding="utf-8") as opened:
                return opened.read()
        finally:
            self._loader.cleanup_tmp_file(real)

    def _secret(self) -> tuple[str, t.Any]:
        """The ID and the vault secret to encrypt with."""
        secrets = self._loader._vault.secrets or []
        wanted = self.get_option("vault_id") or C.config.get_config_value("DEFAULT_VAULT_ENCRYPT_IDENTITY")
        if wanted and wanted not in [name for name, _secret in secrets]:
            raise AnsibleLookupError(
                f"variable_files: vault_id: the run was given no vault password with the ID {wanted}. Give it one with --vault-id"
            )
        found = match_encrypt_secret(secrets, wanted) if secrets else None
        if found is None:
            raise AnsibleLookupError(
                "variable_files: the declaration has secrets, and the run was given no vault password to encrypt them with. "
                "Give it one with --vault-password-file, --vault-id or --ask-vault-pass"
            )
        return t.cast("tuple[str, t.Any]", found)

    def _encrypted(self, content: str) -> str:
        name, secret = self._secret()
        vault_id = None if name == C.DEFAULT_VAULT_IDENTITY else name
        return t.cast(bytes, VaultLib([(name, secret)]).encrypt(content, secret, vault_id)).decode()


def _unwrapped(value: t.Any) -> t.Any:
    """A value without what Ansible notes about it, so that it is exactly what JSON can hold."""
    if isinstance(value, t.Mapping):
        return {_unwrapped(name): _unwrapped(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unwrapped(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    if value is None or isinstance(value, bool):
        return value
    return float(value) if isinstance(value, float) else int(value)
