// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * JSON Web Tokens, checked with the keys in `[jwt_keys]`, as
 * https://docs.couchdb.org/en/stable/api/server/authn.html#jwt-authentication says.
 */

'use strict';

const crypto = require('node:crypto');
const { badRequest, crash, unauthorized } = require('./errors');

/** algorithm → the type of its keys in `[jwt_keys]`, and its hash function. */
const ALGORITHMS = {
  RS256: ['rsa', 'sha256'], RS384: ['rsa', 'sha384'], RS512: ['rsa', 'sha512'],
  ES256: ['ec', 'sha256'], ES384: ['ec', 'sha384'], ES512: ['ec', 'sha512'],
  HS256: ['hmac', 'sha256'], HS384: ['hmac', 'sha384'], HS512: ['hmac', 'sha512'],
};

const REQUIRED = /([a-z]+)|\{\s*([a-z]+)\s*,\s*"([^"]+)"\s*\}/g;

function decodePart(part) {
  let value;
  try {
    if (!/^[\w-]*={0,2}$/.test(part)) throw new SyntaxError(part);
    value = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
  } catch {
    throw badRequest('Malformed token');
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw badRequest('Not an object');
  return value;
}

/** The claims that a token must have: name → the value it must have, or true for any. */
function requiredClaims(settings) {
  const text = settings.get('jwt_auth', 'required_claims');
  const found = [...(text === undefined ? 'exp' : text).matchAll(REQUIRED)];
  return new Map(found.map(([, name, valued, value]) => (name ? [name, true] : [valued, value])));
}

function checkClaims(claims, required) {
  const now = Math.floor(Date.now() / 1000);
  const isMissing = (name) => required.has(name) && claims[name] === undefined;
  for (const name of ['iss', 'iat', 'nbf', 'exp']) if (isMissing(name)) throw badRequest(`Missing ${name} claim`);
  if (required.has('iss') && claims.iss !== required.get('iss')) throw badRequest('Invalid iss claim');
  if (required.has('iat') && !Number.isInteger(claims.iat)) throw badRequest('Invalid iat claim');
  if (required.has('nbf') && !(claims.nbf < now)) throw unauthorized('nbf not in past', { failedLogin: true });
  if (required.has('exp') && !(claims.exp > now)) throw unauthorized('exp not in future', { failedLogin: true });
}

/** The key of a type and an id, as `[jwt_keys]` has it; lines of a PEM are parted by `\n` there. */
function findKey(settings, type, id) {
  const value = settings.get('jwt_keys', `${type}:${id}`);
  if (value === undefined) throw badRequest('Unknown kid');
  if (type === 'hmac') {
    if (!/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(value) || value.replace(/\s/g, '').length % 4) throw badRequest('Not a valid key');
    return crypto.createSecretKey(Buffer.from(value, 'base64'));
  }
  const pem = value.replace(/\\n/g, '\n');
  if (!/-----BEGIN [^-]+-----/.test(pem)) throw badRequest('Not a valid key');
  let key = null;
  try {
    if (/BEGIN (RSA )?PUBLIC KEY/.test(pem)) key = crypto.createPublicKey(pem);
  } catch {
    throw badRequest('Not a valid key');
  }
  if (!key || key.asymmetricKeyType !== type) throw badRequest(`not an ${type.toUpperCase()} public key`);
  return key;
}

function verify(algorithm, message, signature, key) {
  const [type, hash] = ALGORITHMS[algorithm];
  if (type === 'hmac') {
    const expected = crypto.createHmac(hash, key).update(message).digest();
    if (expected.length !== signature.length || !crypto.timingSafeEqual(expected, signature)) throw badRequest('Bad HMAC');
    return;
  }
  const options = type === 'ec' ? { key, dsaEncoding: 'ieee-p1363' } : key;
  if (!crypto.verify(hash, Buffer.from(message), options, signature)) throw badRequest('Bad signature');
}

function rolesOf(settings, claims) {
  const path = settings.get('jwt_auth', 'roles_claim_path');
  let roles;
  if (path === undefined) {
    const name = settings.get('jwt_auth', 'roles_claim_name') || '_couchdb.roles';
    roles = claims[name] === undefined ? [] : claims[name];
  } else {
    const names = path.split(/(?<!\\)\./).map((name) => name.replace(/\\\./g, '.'));
    roles = names.reduce((value, name) => (value === null || typeof value !== 'object' ? undefined : value[name]), claims);
    if (roles === undefined) throw crash();
  }
  if (typeof roles === 'string') roles = roles.split(/\s*,\s*/);
  if (!Array.isArray(roles) || roles.some((role) => typeof role !== 'string')) throw badRequest('Malformed token');
  return roles;
}

/** The user that a token speaks for, as { name, roles }. Throws what CouchDB answers if it is no good. */
function userOf(token, settings) {
  const parts = token.split('.');
  if (parts.length !== 3) throw badRequest('Malformed token');
  const [header, claims] = parts.slice(0, 2).map(decodePart);
  if (header.typ !== undefined && header.typ !== 'JWT') throw crash('{case_clause,{undefined,<<"typ">>}}');
  if (header.alg === undefined) throw badRequest('Missing alg header parameter');
  if (!ALGORITHMS[header.alg]) throw badRequest('Invalid alg header parameter');
  const required = requiredClaims(settings);
  checkClaims(claims, required);
  if (required.has('kid') && header.kid === undefined) throw badRequest('Missing kid claim');
  const key = findKey(settings, ALGORITHMS[header.alg][0], header.kid === undefined ? '_default' : header.kid);
  verify(header.alg, parts.slice(0, 2).join('.'), Buffer.from(parts[2], 'base64url'), key);
  const roles = rolesOf(settings, claims);
  if (claims.sub === undefined) throw unauthorized('Token missing sub claim.', { failedLogin: true });
  return { name: claims.sub, roles };
}

module.exports = { userOf };
