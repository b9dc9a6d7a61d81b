# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module promises about check mode, diff mode and idempotence, and its action group."""

from __future__ import annotations


class ModuleDocFragment:
    """C(couchpy.couchdb.attributes), with C(.writing), C(.acting) or C(.reading) for modules that declare, act or only read."""

    DOCUMENTATION = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/couchpy.couchdb.couchdb) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - couchpy.couchdb.couchdb
"""

    WRITING = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the changes it would make. It then sends only requests that read.
    support: full
  diff_mode:
    description: Returns the changes it made, or in C(check_mode) would make, when in C(diff) mode. Secrets are masked.
    support: full
  idempotent:
    description: When run twice in a row outside check mode with the same options, the second run changes nothing.
    support: full
"""

    ACTING = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what it would do. It then sends only requests that read.
    support: full
  diff_mode:
    description: Returns what it did, or in C(check_mode) would do, when in C(diff) mode.
    support: full
  idempotent:
    description: When run twice in a row outside check mode with the same options, the second run changes nothing.
    support: none
    details:
      - This module acts each time it runs.
"""

    READING = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode). It does the same there, as it only reads.
    support: full
  diff_mode:
    description: Returns the changes it made when in C(diff) mode.
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    description: When run twice in a row, the second run changes nothing.
    support: full
"""
