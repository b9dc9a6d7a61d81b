// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * CouchDB's password hashes: parsing, deriving and verifying them as each version does.
 *
 * The hash of a server admin is one string in the settings, that of a user is five fields of a document. Both become the
 * same record: { scheme, prf, derived, salt, iterations }.
 */

'use strict';

const crypto = require('node:crypto');
const { promisify } = require('node:util');

const pbkdf2 = promisify(crypto.pbkdf2);

const DIGESTS = { sha: 'sha1', sha224: 'sha224', sha256: 'sha256', sha384: 'sha384', sha512: 'sha512' };

/** The record of a value in `[admins]`, or null if it is a plain password to this version. */
function parseAdmin(value, version) {
  let found = /^-hashed-([0-9a-f]*),(.*)$/s.exec(value);
  if (found) return { scheme: 'simple', derived: found[1], salt: found[2] };
  found = /^-pbkdf2-([0-9a-f]+),([^,]*),(\d+)$/.exec(value);
  if (found) return { scheme: 'pbkdf2', prf: 'sha', derived: found[1], salt: found[2], iterations: Number(found[3]) };
  // Before 3.4 a hash with the name of its function is a plain password.
  found = version.knowsPrf && /^-pbkdf2:(sha|sha224|sha256|sha384|sha512)-([0-9a-f]+),([^,]*),(\d+)$/.exec(value);
  if (found) return { scheme: 'pbkdf2', prf: found[1], derived: found[2], salt: found[3], iterations: Number(found[4]) };
  return null;
}

/** The record of a user document, or null if it allows no login. */
function parseUser(doc, version) {
  if (doc.password_scheme === 'pbkdf2') {
    return {
      scheme: 'pbkdf2', prf: (version.knowsPrf && doc.pbkdf2_prf) || 'sha', derived: String(doc.derived_key), salt: String(doc.salt),
      iterations: Number(doc.iterations),
    };
  }
  if (doc.password_sha) return { scheme: 'simple', derived: String(doc.password_sha), salt: String(doc.salt || '') };
  return null;
}

async function derive(password, { prf, salt, iterations, length }) {
  const digest = DIGESTS[prf];
  const bytes = length || crypto.createHash(digest).digest().length;
  return (await pbkdf2(password, salt, iterations, bytes, digest)).toString('hex');
}

/** A new record for a password with a new salt, with the hash scheme of this version and its settings. */
async function hash(password, settings, version) {
  const prf = version.knowsPrf ? settings.get('chttpd_auth', 'pbkdf2_prf') || 'sha256' : 'sha';
  const iterations = Number(settings.get('chttpd_auth', 'iterations')) || version.iterations;
  const salt = crypto.randomBytes(16).toString('hex');
  return { scheme: 'pbkdf2', prf, salt, iterations, derived: await derive(password, { prf, salt, iterations }) };
}

function formatAdmin(record, version) {
  const name = version.knowsPrf ? `-pbkdf2:${record.prf}-` : '-pbkdf2-';
  return `${name}${record.derived},${record.salt},${record.iterations}`;
}

function userFields(record, version) {
  const prf = version.knowsPrf ? { pbkdf2_prf: record.prf } : {};
  return {
    password_scheme: 'pbkdf2', ...prf, salt: record.salt, iterations: record.iterations, derived_key: record.derived,
  };
}

async function verify(password, record) {
  let derived;
  if (record.scheme === 'simple') {
    derived = crypto.createHash('sha1').update(password + record.salt).digest('hex');
  } else {
    if (!DIGESTS[record.prf] || !(record.iterations > 0)) return false;
    derived = await derive(password, { ...record, length: Math.max(1, record.derived.length >> 1) });
  }
  const given = Buffer.from(derived);
  const kept = Buffer.from(record.derived.toLowerCase());
  return given.length === kept.length && crypto.timingSafeEqual(given, kept);
}

module.exports = { parseAdmin, parseUser, hash, formatAdmin, userFields, verify };
