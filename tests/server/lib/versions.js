// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/* The differences between the supported versions of CouchDB. The files in data/ come from recordings. */

'use strict';

const V34 = {
  version: '3.4.3',
  gitSha: 'e12b967',
  features: ['quickjs', 'access-ready', 'partitioned', 'pluggable-storage-engines', 'reshard', 'scheduler'],
  javascript: { name: 'quickjs' },
  iterations: 600000,
  knowsPrf: true,
  lockout: true,
  // A successful login is cached by name and salt, even if the hash changes.
  remembersBySalt: true,
  // A deleted setting falls back to the value in the files.
  keepDefaults: true,
  numberSetting: 'refused',
  distributionEvents: true,
  smooshStatus: true,
  knowsBeginsWith: true,
  knowsNouveau: true,
  defaults: { dreyfus: { name: 'clouseau1@127.0.0.1' }, nouveau: { enable: 'false', url: 'http://127.0.0.1:5987' } },
  statistics: () => require('./data/statistics-3.4.json'),
  processes: () => require('./data/processes-3.4.json'),
};

const V33 = {
  version: '3.3.3',
  gitSha: '40afbcf',
  features: ['access-ready', 'partitioned', 'pluggable-storage-engines', 'reshard', 'scheduler'],
  javascript: { name: 'spidermonkey', version: '78' },
  iterations: 10,
  knowsPrf: false,
  lockout: false,
  remembersBySalt: false,
  keepDefaults: false,
  // A setting that is not a string is an exception instead of an error.
  numberSetting: 'crashes',
  distributionEvents: false,
  smooshStatus: false,
  knowsBeginsWith: false,
  knowsNouveau: false,
  defaults: {},
  statistics: () => require('./data/statistics-3.3.json'),
  processes: () => require('./data/processes-3.3.json'),
};

module.exports = { 3: V34, 3.3: V33 };
