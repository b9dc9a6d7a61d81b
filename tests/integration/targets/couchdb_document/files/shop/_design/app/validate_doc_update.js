// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
// SPDX-License-Identifier: GPL-3.0-or-later

function (doc) {
  if (doc.it_refused) {
    throw({forbidden: 'refused for a test'});
  }
}
