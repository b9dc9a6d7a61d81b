// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * An etc directory with the layout of CouchDB's: its ini files in their order, and vm.args.
 *
 * The files are read as https://docs.couchdb.org/en/stable/config/intro.html says; the last one is where CouchDB writes
 * what is set over HTTP.
 */

'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

/** COUCHDB_INI_FILES, as bin/couchdb takes it: ini files and directories of them, in their order. */
function iniFilesNamed(names) {
  return names.split(/\s+/).filter((name) => name && fs.existsSync(name)).flatMap((name) => (
    fs.statSync(name).isDirectory()
      ? fs.readdirSync(name).filter((file) => file.endsWith('.ini')).sort().map((file) => path.join(name, file))
      : [name]));
}

function iniFilesOf(directory) {
  if (process.env.COUCHDB_INI_FILES) return iniFilesNamed(process.env.COUCHDB_INI_FILES);
  const below = (name) => {
    const folder = path.join(directory, name);
    if (!fs.existsSync(folder)) return [];
    return fs.readdirSync(folder).filter((file) => file.endsWith('.ini')).sort().map((file) => path.join(folder, file));
  };
  const file = (name) => [path.join(directory, name)].filter(fs.existsSync);
  return [...file('default.ini'), ...below('default.d'), ...file('local.ini'), ...below('local.d')];
}

/** The flags of vm.args. The last line of a flag wins. */
function parseArguments(text) {
  const flags = new Map();
  for (const raw of text.split(/\r?\n/)) {
    const line = raw.replace(/^\s*#.*/, '').trim();
    const found = /^-(kernel\s+\S+|\S+)\s*(.*)$/.exec(line);
    if (found) flags.set(found[1].replace(/\s+/, ' '), found[2].replace(/^(['"])(.*)\1$/, '$2'));
  }
  return flags;
}

/** An IP address in dotted form, from the form in vm.args: `{127,0,0,1}`. */
function addressOf(tuple) {
  const found = /^\{\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\}$/.exec(tuple || '');
  return found ? found.slice(1).join('.') : '0.0.0.0';
}

const DISTRIBUTION_PORT = 9100;

/** The cookie of a node whose vm.args has none: that of its user's home, which nobody else may read; one is made if it is missing. */
function cookieOf(home) {
  const file = path.join(home || '/', '.erlang.cookie');
  if (!fs.existsSync(file)) fs.writeFileSync(file, crypto.randomBytes(10).toString('hex').toUpperCase(), { mode: 0o400 });
  if (fs.statSync(file).mode & 0o77) throw new Error(`Cookie file ${file} must be accessible by owner only`);
  return fs.readFileSync(file, 'latin1').trim();
}

/** The start parameters of a node: name, ini files, root directory, cookie, distribution. */
function readEtc(directory) {
  const file = path.join(directory, 'vm.args');
  const flags = parseArguments(fs.readFileSync(file, 'utf8'));
  const name = flags.get('name');
  if (!/^[^@\s]+@[^@\s]+\.[^@\s]+$/.test(name || '')) {
    throw new Error(`${file}: -name must be NAME@HOST with a whole host name or an address, not ${name}`);
  }
  const files = iniFilesOf(directory);
  if (!files.length) throw new Error(`${directory} holds no ini file`);
  return {
    name,
    files,
    root: path.dirname(path.resolve(directory)),
    cookie: flags.get('setcookie') || cookieOf(process.env.HOME),
    distribution: {
      address: addressOf(flags.get('kernel inet_dist_use_interface')),
      port: Number(flags.get('kernel inet_dist_listen_min')) || DISTRIBUTION_PORT,
    },
  };
}

module.exports = { readEtc };
