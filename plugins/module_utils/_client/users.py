# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users: the users of a server, by their names."""

from __future__ import annotations

import typing as t

from .. import errors
from .._rules.dialect import LOCAL
from .._rules.names import USER_PREFIX, check_names
from .admins import Admins
from .databases import Databases
from .server import Headers


class Users(Admins, Databases):
    """The part of Client for users."""

    def user_settings(self, node: str = LOCAL) -> tuple[str, dict[str, t.Any]]:
        """The database of users, and the hash scheme of new passwords, C(prf) and C(iterations).

        From the settings of a node, if the login may read them.
        """
        try:
            settings = self.config(node=node)
        except (errors.Unauthorized, errors.Forbidden):
            settings = {}
        return self.dialect.authentication_database(settings), self.dialect.hashing(settings)

    def users(
        self, names: t.Sequence[str], hthdrs: Headers = None, *, database: str = "_users", conflicts: bool = False
    ) -> dict[str, dict[str, t.Any] | None]:
        """The documents of these users by name, read in one request; None for missing ones.

        ``database`` is the server's database of users. With ``conflicts``, a document lists its conflicting
        revisions in C(_conflicts). Raises NotFound, saying what to do, if the database is missing.

        https://docs.couchdb.org/en/stable/intro/security.html#authentication-database
        """
        check_names(names, "names")
        ids = [USER_PREFIX + name for name in names]
        try:
            found = self.Database(database).bulk_get(ids, hthdrs, conflicts=conflicts)
        except errors.NotFound as error:
            raise error.reworded(
                f"the server has no database {database} for its users. Set up the server, or create it with "
                "couchdb_database",
                errors.NotFound,
            ) from None
        return {name: found[docid] for name, docid in zip(names, ids)}
