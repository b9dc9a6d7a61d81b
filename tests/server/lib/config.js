// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The settings of one node: what its files say and what was set since.
 *
 * Three layers, as in CouchDB: the defaults (default.ini, never written), the node's own local.ini, and the memory
 * that answers. A value set with `X-Couch-Persist: false` lives in memory only; `reload` and a restart read the
 * files again and drop it.
 */

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { EventEmitter } = require('node:events');
const { HttpError, badRequest } = require('./errors');

const BLACKLISTED = /^(daemons|external|os_daemons|query_servers|native_query_servers|feature_flags|httpd_.*_handlers)$/;
const outsideLatin1 = /[^\u0000-\u00ff]/;

/** Reads an ini file as CouchDB does: ` = ` parts key and value before a bare `=` may, ` ;` begins a comment. */
function parseIni(text) {
  const sections = new Map();
  let section = null;
  for (const raw of text.split(/\r?\n/)) {
    const line = raw.trim();
    if (!line || line.startsWith(';')) continue;
    const header = /^\[(.*)\]$/.exec(line);
    if (header) {
      section = header[1];
      if (!sections.has(section)) sections.set(section, new Map());
      continue;
    }
    if (section === null) continue;
    const spaced = line.indexOf(' = ');
    const at = spaced >= 0 ? spaced : line.indexOf('=');
    if (at < 0) continue;
    const key = line.slice(0, at).trim();
    const value = line.slice(at + (spaced >= 0 ? 3 : 1)).split(/[ \t];/)[0].trim();
    // A key without a value is no setting: that is how a value is taken back in a file.
    if (key && value) sections.get(section).set(key, value);
  }
  return sections;
}

function formatIni(sections) {
  const lines = ['; Written by the embedded server, as CouchDB writes what is set over HTTP.'];
  for (const [section, keys] of sections) {
    if (!keys.size) continue;
    lines.push('', `[${section}]`);
    for (const [key, value] of keys) lines.push(`${key} = ${value}`);
  }
  return `${lines.join('\n')}\n`;
}

const copy = (layer) => new Map([...layer].map(([section, keys]) => [section, new Map(keys)]));

class Settings extends EventEmitter {
  /** `defaults`: section → key → value; `file`: the local.ini of this node; `keepDefaults`: a deleted key falls back. */
  constructor({ defaults, file, keepDefaults }) {
    super();
    this._defaults = new Map(Object.entries(defaults).map(([section, keys]) => [section, new Map(Object.entries(keys))]));
    this._file = file;
    this._keepDefaults = keepDefaults;
    this.load();
  }

  /** Reads the files again: what was only in memory is gone. */
  load() {
    this._local = fs.existsSync(this._file) ? parseIni(fs.readFileSync(this._file, 'latin1')) : new Map();
    this._memory = copy(this._defaults);
    for (const [section, keys] of this._local) {
      for (const [key, value] of keys) this._put(this._memory, section, key, value);
    }
  }

  /** A value this run decides (its port, its folders); it counts as one of default.ini. */
  setDefault(section, key, value) {
    this._put(this._defaults, section, key, value);
    if (!this._local.get(section)?.has(key)) this._put(this._memory, section, key, value);
  }

  get(section, key) {
    return this._memory.get(section)?.get(key);
  }

  isTrue(section, key) {
    return this.get(section, key) === 'true';
  }

  section(section) {
    return Object.fromEntries(this._memory.get(section) || []);
  }

  all() {
    const sections = [...this._memory].filter(([, keys]) => keys.size);
    return Object.fromEntries(sections.map(([section, keys]) => [section, Object.fromEntries(keys)]));
  }

  /** Refuses what CouchDB refuses, in its words. */
  static check(section, key, value) {
    Settings.checkBlacklist(section);
    if (/[\]\r\n]/.test(section) || outsideLatin1.test(section)) throw badRequest('Invalid configuration section');
    if (/[\r\n]/.test(key) || outsideLatin1.test(key) || /^\[/.test(key)) throw badRequest('Invalid configuration key');
    if (value !== undefined && (/[\r\n]/.test(value) || outsideLatin1.test(value))) {
      throw badRequest('Invalid configuration value');
    }
  }

  static checkBlacklist(section) {
    if (BLACKLISTED.test(section)) {
      throw new HttpError(403, 'forbidden', 'Config section blacklisted for modification over HTTP API.');
    }
  }

  set(section, key, value, persist = true) {
    this._put(this._memory, section, key, value);
    if (persist) {
      this._put(this._local, section, key, value);
      this._write();
    }
    this.emit('change', { section, key, value });
  }

  delete(section, key, persist = true) {
    this._memory.get(section)?.delete(key);
    if (persist && this._local.get(section)?.delete(key)) this._write();
    const fallback = this._defaults.get(section)?.get(key);
    if (fallback !== undefined && this._keepDefaults) this._put(this._memory, section, key, fallback);
    this.emit('change', { section, key, value: this.get(section, key), deleted: true });
  }

  _put(layer, section, key, value) {
    if (!layer.has(section)) layer.set(section, new Map());
    layer.get(section).set(key, value);
  }

  _write() {
    fs.mkdirSync(path.dirname(this._file), { recursive: true });
    fs.writeFileSync(`${this._file}.new`, formatIni(this._local), { encoding: 'latin1', mode: 0o600 });
    fs.renameSync(`${this._file}.new`, this._file);
  }
}

module.exports = { Settings };
