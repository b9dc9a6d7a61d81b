// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The log, in CouchDB's format, and the journal of requests for tests.
 *
 * The log goes to the directory of the node, or to `log/file` if `log/writer` is `file` and the path is inside the data
 * directory: a server started by tests writes nowhere else. With an etc directory, `log/file` may be any file, and other
 * writers mean standard error.
 */

'use strict';

const fs = require('node:fs');
const path = require('node:path');

const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency', 'none'];
const ALIASES = { warn: 'warning', err: 'error', crit: 'critical', emerg: 'emergency' };

class Log {
  constructor({ node, settings, statistics, directory, root }) {
    this._node = node;
    this._settings = settings;
    this._statistics = statistics;
    this._own = directory && path.join(directory, 'couchdb.log');
    this._root = root && path.resolve(root);
  }

  get file() {
    const asked = this._settings.get('log', 'file');
    if (this._settings.get('log', 'writer') !== 'file' || !asked) return this._own;
    const file = path.resolve(asked);
    if (!this._root) return file;
    return file.startsWith(this._root + path.sep) ? file : this._own;
  }

  write(level, message, id = '--------') {
    this._statistics.count(`couch_log/level/${level}`);
    const asked = this._settings.get('log', 'level') || 'info';
    const lowest = LEVELS.indexOf(ALIASES[asked] || asked);
    if (LEVELS.indexOf(level) < lowest) return;
    const time = new Date().toISOString().replace(/Z$/, '000Z');
    const line = `[${level}] ${time} ${this._node} <0.${100 + (process.pid % 900)}.0> ${id} ${message}\n`;
    const { file } = this;
    if (!file) {
      process.stderr.write(line);
      return;
    }
    try {
      fs.appendFileSync(file, line);
    } catch {
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.appendFileSync(file, line);
    }
  }
}

/** A JSON line per request, written before the last byte of the answer is sent. */
class Journal {
  constructor(file) {
    this._descriptor = file ? fs.openSync(file, 'a') : null;
  }

  add(entry) {
    if (this._descriptor !== null) fs.writeSync(this._descriptor, `${JSON.stringify(entry)}\n`);
  }
}

module.exports = { Log, Journal };
