// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
// SPDX-License-Identifier: GPL-3.0-or-later

/*
 * Starts the embedded server. An upgrade removes this directory, which carries the version in its name. Erlang goes on running then and
 * fails where it loads code; this says so in the log of the service, once.
 */

'use strict';

const fs = require('node:fs');

const timer = setInterval(() => {
  if (fs.existsSync(__filename)) return;
  console.error('the code of this running node was removed');
  clearInterval(timer);
}, 100);
timer.unref();

process.argv[1] = '/opt/couchdb-stand-in/lib/main.js';
require(process.argv[1]);
