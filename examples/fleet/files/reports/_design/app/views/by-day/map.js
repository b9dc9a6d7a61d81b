// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
// SPDX-License-Identifier: GPL-3.0-or-later
function (doc) {
  if (doc.day) {
    emit(doc.day, null);
  }
}
