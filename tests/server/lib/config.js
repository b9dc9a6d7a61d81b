// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The settings of one node: those of its files, and changes since.
 *
 * Three layers, as in CouchDB: the defaults (default.ini and all files but the last, never written); the last file, which is
 * the node's local.ini if there is no etc directory; and the memory, which is what clients read. `X-Couch-Persist: false`
 * sets a value in memory only; `_reload` and a restart read the files again and drop it.
 */

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { EventEmitter } = require('node:events');
const { HttpError, badRequest } = require('./errors');

const BLACKLISTED = /^(daemons|external|os_daemons|query_servers|native_query_servers|feature_flags|httpd_.*_handlers)$/;

// CouchDB stores settings as bytes and treats each byte as a character of Latin-1. So bytes inside the UTF-8 of a character
// can be control characters, which it refuses, or white space, which it trims.
const UNPRINTABLE = /[^\t\x20-\x7e\xa0-\xff]/;
const OUTER_SPACE = /^[\t-\r \x85\xa0]+|[\t-\r \x85\xa0]+$/g;

const bytesOf = (text) => Buffer.from(text, 'utf8').toString('latin1');
const textOf = (bytes) => Buffer.from(bytes, 'latin1').toString('utf8');
const trim = (bytes) => bytes.replace(OUTER_SPACE, '');

/** Parses an ini file, given as bytes, as CouchDB does: ` = ` separates key and value, else `=`; ` ;` begins a comment. */
function parseIni(bytes) {
  const sections = new Map();
  let section = null;
  for (const raw of bytes.split(/\r\n|\n|\r|\x1a/)) {
    const line = trim(trim(raw).replace(/^;.*/, '').split(/[ \t];/)[0]);
    if (!line) continue;
    const header = /^\[(.*)\]$/.exec(line);
    if (header) {
      section = textOf(header[1]);
      if (!sections.has(section)) sections.set(section, new Map());
      continue;
    }
    if (section === null) continue;
    const spaced = line.indexOf(' = ');
    const at = spaced >= 0 ? spaced : line.indexOf('=');
    if (at < 0) continue;
    const key = trim(line.slice(0, at));
    const value = trim(line.slice(at + (spaced >= 0 ? 3 : 1)));
    // CouchDB ignores a key without a value, and writes one to delete a setting.
    if (key && value) sections.get(section).set(textOf(key), textOf(value));
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

/**
 * Writes one setting into the text of an ini file, as CouchDB does: it replaces the line of the key, or appends a line to the
 * section. The rest stays as it is. `undefined` removes the line.
 */
function editIni(text, section, key, value) {
  const lines = text.split(/\r?\n/);
  const entry = value === undefined ? [] : [`${key} = ${value}`];
  const start = lines.findIndex((line) => line.trim() === `[${section}]`);
  if (start < 0) {
    while (lines.length && !lines[lines.length - 1].trim()) lines.pop();
    if (entry.length) lines.push('', `[${section}]`, ...entry);
  } else {
    const after = lines.findIndex((line, index) => index > start && /^\s*\[[^\]]*\]\s*$/.test(line));
    let end = after < 0 ? lines.length : after;
    const found = lines.slice(start + 1, end).findIndex((line) => line.startsWith(key) && /^\s*=/.test(line.slice(key.length)));
    while (end > start + 1 && !lines[end - 1].trim()) end -= 1;
    if (found >= 0) lines.splice(start + 1 + found, 1, ...entry);
    else lines.splice(end, 0, ...entry);
  }
  return `${lines.join('\n').replace(/^\n+|\n+$/g, '')}\n`;
}

const copy = (layer) => new Map([...layer].map(([section, keys]) => [section, new Map(keys)]));

class Settings extends EventEmitter {
  /**
   * `defaults`: section → key → value. `file`: the local.ini of this node, or `files`: a function that returns those of an etc
   * directory in their order. `keepDefaults`: whether a deleted key falls back to its default.
   */
  constructor({ defaults, file, files, keepDefaults }) {
    super();
    this._builtIn = new Map(Object.entries(defaults).map(([section, keys]) => [section, new Map(Object.entries(keys))]));
    this._file = file;
    this._files = files;
    this._keepDefaults = keepDefaults;
    this.load();
  }

  /** Reads the files again, and drops what was in memory only. */
  load() {
    this._defaults = copy(this._builtIn);
    if (this._files) {
      const files = this._files();
      this._file = files.pop();
      for (const each of files) {
        for (const [section, keys] of parseIni(fs.readFileSync(each, 'latin1'))) {
          for (const [key, value] of keys) this._put(this._defaults, section, key, value);
        }
      }
    }
    this._local = fs.existsSync(this._file) ? parseIni(fs.readFileSync(this._file, 'latin1')) : new Map();
    this._memory = copy(this._defaults);
    for (const [section, keys] of this._local) {
      for (const [key, value] of keys) this._put(this._memory, section, key, value);
    }
  }

  /** Sets a default that depends on this run, such as the port and the directories. */
  setDefault(section, key, value) {
    this._put(this._builtIn, section, key, value);
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

  /** Throws CouchDB's errors for settings that it refuses. */
  static check(section, key, value) {
    Settings.checkBlacklist(section);
    const bad = (text) => UNPRINTABLE.test(bytesOf(text));
    if (/[[\]]/.test(section) || bad(section)) throw badRequest('Invalid configuration section');
    if (/[[\]]/.test(key) || bad(key)) throw badRequest('Invalid configuration key');
    if (value !== undefined && UNPRINTABLE.test(value)) throw badRequest('Invalid configuration value');
  }

  /** A value as CouchDB stores it: its bytes without white space at both ends. */
  static trimmed(section, key, value) {
    const bytes = trim(bytesOf(value));
    Settings.check(section, key, bytes);
    return textOf(bytes);
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
      this._write(section, key, value);
    }
    this.emit('change', { section, key, value });
  }

  delete(section, key, persist = true) {
    this._memory.get(section)?.delete(key);
    if (persist && this._local.get(section)?.delete(key)) this._write(section, key);
    const fallback = this._defaults.get(section)?.get(key);
    if (fallback !== undefined && this._keepDefaults) this._put(this._memory, section, key, fallback);
    this.emit('change', { section, key, value: this.get(section, key), deleted: true });
  }

  _put(layer, section, key, value) {
    if (!layer.has(section)) layer.set(section, new Map());
    layer.get(section).set(key, value);
  }

  /** A file in an etc directory keeps its owner, its mode and its other lines. */
  _write(section, key, value) {
    if (this._files) {
      const written = value === undefined ? value : bytesOf(value);
      const text = editIni(fs.readFileSync(this._file, 'latin1'), bytesOf(section), bytesOf(key), written);
      fs.writeFileSync(this._file, text, 'latin1');
      return;
    }
    fs.mkdirSync(path.dirname(this._file), { recursive: true });
    fs.writeFileSync(`${this._file}.new`, formatIni(this._local), { mode: 0o600 });
    fs.renameSync(`${this._file}.new`, this._file);
  }
}

module.exports = { Settings };
