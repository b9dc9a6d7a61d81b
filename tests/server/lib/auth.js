// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * Authentication by cookie, Basic and JWT, the session, the lockout of 3.4, and the permissions of a user.
 *
 * One Authenticator belongs to one node, since its caches and its lockout are in that node's memory and go with a
 * restart.
 */

'use strict';

const crypto = require('node:crypto');
const { HttpError, badRequest, forbidden, unauthorized, methodNotAllowed } = require('./errors');
const passwords = require('./passwords');
const jwt = require('./jwt');
const { parseTerms } = require('./terms');

const WRONG = 'Name or password is incorrect.';
const CONFLICTED = 'User document conflicts must be resolved before the document is used for authentication purposes.';
const LOCKED = 'Account is temporarily locked due to multiple authentication failures';
const HANDLERS = '{chttpd_auth, cookie_authentication_handler}, {chttpd_auth, default_authentication_handler}';
const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const two = (number) => String(number).padStart(2, '0');

function cookieDate(date) {
  return (
    `${DAYS[date.getUTCDay()]}, ${two(date.getUTCDate())}-${MONTHS[date.getUTCMonth()]}-${date.getUTCFullYear()} ` +
    `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())} GMT`
  );
}

class Authenticator {
  constructor(node) {
    this.node = node;
    this._verified = new Map();
    this._users = new Map();
    // Read once, when the listener opens.
    const handlers = parseTerms(node.settings.get('chttpd', 'authentication_handlers') || HANDLERS);
    this._handlers = handlers.map(({ tuple: [, name] }) => name.atom.split('_')[0]);
    this._failures = new Map();
    this._key = crypto.randomBytes(32);
    this._lifetime = Number(node.settings.get('chttpd_auth_lockout', 'max_lifetime')) || 300000;
  }

  /** Sets the user of an exchange. Throws if its credentials are wrong. */
  async identify(exchange) {
    let user = null;
    for (const name of this._handlers) user = user || (FROM[name] && (await FROM[name].call(this, exchange)));
    if (user) {
      exchange.user = { name: user.name, roles: user.roles };
      exchange.authenticated = user.by;
    } else if (this._required(exchange)) {
      throw unauthorized('Authentication required.');
    }
  }

  _required(exchange) {
    const { settings } = this.node;
    if (exchange.path[0] === '_session' || exchange.path[0] === '_up') return false;
    if (settings.isTrue('chttpd', 'require_valid_user') || settings.isTrue('chttpd_auth', 'require_valid_user')) return true;
    return settings.isTrue('chttpd', 'require_valid_user_except_for_up') && exchange.path[0] !== '_up';
  }

  /** The stored hash and the roles of a user or server admin; null if there is no such name. */
  async _credentials(name) {
    const { settings, version } = this.node;
    const admin = settings.get('admins', name);
    const doc = await this._user(name);
    if (admin !== undefined) {
      const roles = doc && Array.isArray(doc.roles) ? doc.roles : [];
      return { name, roles: ['_admin', ...roles], record: passwords.parseAdmin(admin, version) };
    }
    if (!doc) return null;
    return { name, roles: Array.isArray(doc.roles) ? doc.roles : [], record: passwords.parseUser(doc, version) };
  }

  /** The document of a user. One found before `authentication_db` changed stays cached until a restart. */
  async _user(name) {
    const { settings } = this.node;
    const database = authenticationDatabase(settings);
    const known = this._users.get(name);
    if (known && known.database !== database) return known.doc;
    const doc = await this.node.userDocument(name);
    if (doc) this._users.set(name, { database, doc });
    else this._users.delete(name);
    if (doc && doc._conflicts && !settings.isTrue('chttpd_auth', 'allow_conflicted_user_docs')) {
      throw unauthorized(CONFLICTED, { failedLogin: true });
    }
    return doc;
  }

  /** Checks a password. A correct one is cached, so that only the first request computes the hash. */
  async _check(password, { name, record }) {
    if (!record) return false;
    const hash = [record.derived, record.salt, record.iterations, record.prf];
    const place = JSON.stringify(this.node.version.remembersBySalt ? [name, record.salt] : hash);
    const digest = (...parts) => crypto.createHmac('sha256', this._key).update(JSON.stringify(parts)).digest('base64');
    const known = digest(password);
    if (this._verified.has(place) && (this.node.version.remembersBySalt || this._verified.get(place) === known)) {
      this.node.statistics.count('couchdb/password_hashing_fast');
      return this._verified.get(place) === known;
    }
    const remembered = digest(hash, password);
    this.node.statistics.count('couchdb/password_hashing_slow');
    // Parallel requests wait for one hash instead of computing one each.
    this._verifying = this._verifying || new Map();
    if (!this._verifying.has(remembered)) {
      this._verifying.set(
        remembered,
        passwords.verify(password, record).finally(() => this._verifying.delete(remembered)),
      );
    }
    const right = await this._verifying.get(remembered);
    if (right) this._verified.set(place, known);
    return right;
  }

  /** Logs in, for Basic credentials and for POST /_session. */
  async login(exchange, name, password) {
    const found = await this._credentials(name);
    if (!found) throw unauthorized(WRONG, { failedLogin: true });
    const lock = this._lock(exchange, found);
    if (lock.closed) throw new HttpError(403, 'forbidden', LOCKED, { failedLogin: true });
    if (!(await this._check(password, found))) {
      lock.fail();
      throw unauthorized(WRONG, { failedLogin: true });
    }
    return found;
  }

  _lock(exchange, found) {
    const { settings, version, log } = this.node;
    const mode = settings.get('chttpd_auth_lockout', 'mode') || 'enforce';
    if (!version.lockout || mode === 'off') return { closed: false, fail() {} };
    const threshold = Number(settings.get('chttpd_auth_lockout', 'threshold')) || 5;
    const key = JSON.stringify([exchange.request.socket.remoteAddress, found.name, found.record && found.record.salt]);
    let entry = this._failures.get(key);
    if (entry && Date.now() - entry.since > this._lifetime) {
      this._failures.delete(key);
      entry = undefined;
    }
    const over = Boolean(entry) && entry.count >= threshold;
    if (over && mode === 'warn') log.write('warning', `${found.name} would be locked out (mode is warn)`);
    return {
      closed: over && mode === 'enforce',
      fail: () => {
        const kept = this._failures.get(key) || { count: 0, since: Date.now() };
        kept.count += 1;
        this._failures.set(key, kept);
      },
    };
  }

  async _fromBasic(exchange) {
    const header = exchange.header('authorization');
    if (!header) return null;
    const found = /^basic\s+(.*)$/i.exec(header);
    if (!found) return null;
    const [name, ...rest] = Buffer.from(found[1], 'base64').toString('utf8').split(':');
    if (!rest.length) return null;
    const user = await this.login(exchange, name, rest.join(':'));
    return { ...user, by: 'default' };
  }

  async _fromCookie(exchange) {
    const found = /(?:^|;\s*)AuthSession=([^;\s]*)/.exec(exchange.header('cookie') || '');
    if (!found || !found[1]) return null;
    const decoded = Buffer.from(found[1], 'base64url');
    const first = decoded.indexOf(58);
    const second = decoded.indexOf(58, first + 1);
    if (first < 0 || second < 0) throw badRequest('Malformed AuthSession cookie. Please clear your cookies.');
    const name = decoded.subarray(0, first).toString('utf8');
    const time = decoded.subarray(first + 1, second).toString('latin1');
    const user = await this._credentials(name);
    if (!user) return null;
    const made = parseInt(time, 16);
    const left = made + this._timeout() - Math.floor(Date.now() / 1000);
    if (!(left > 0)) return null;
    const given = decoded.subarray(second + 1);
    const right = this._algorithms().some((algorithm) => {
      const expected = this._sign(name, time, user, algorithm);
      return expected.length === given.length && crypto.timingSafeEqual(expected, given);
    });
    if (!right) return null;
    // The answer renews a cookie once a tenth of its lifetime is over.
    if (left < this._timeout() * 0.9) exchange.answerHeaders['Set-Cookie'] = this._cookie(this._token(name, user));
    return { ...user, by: 'cookie' };
  }

  async _fromToken(exchange) {
    const found = /^Bearer (.*)$/.exec(exchange.header('authorization') || '');
    return found && { ...jwt.userOf(found[1], this.node.settings), by: 'jwt' };
  }

  _timeout() {
    return Number(this.node.settings.get('chttpd_auth', 'timeout')) || 600;
  }

  _algorithms() {
    const names = { sha: 'sha1', sha256: 'sha256', sha512: 'sha512', sha384: 'sha384', sha224: 'sha224' };
    const asked = (this.node.settings.get('chttpd_auth', 'hash_algorithms') || 'sha256, sha').split(',');
    return asked.map((name) => names[name.trim()]).filter(Boolean);
  }

  _sign(name, time, user, algorithm) {
    const secret = (this.node.settings.get('chttpd_auth', 'secret') || '') + ((user.record && user.record.salt) || '');
    return crypto.createHmac(algorithm, secret).update(`${name}:${time}`).digest();
  }

  _token(name, user) {
    const time = Math.floor(Date.now() / 1000).toString(16).toUpperCase();
    const signature = this._sign(name, time, user, this._algorithms()[0] || 'sha256');
    return Buffer.concat([Buffer.from(`${name}:${time}:`), signature]).toString('base64url');
  }

  _cookie(token) {
    const seconds = this._timeout();
    const expires = cookieDate(new Date(Date.now() + seconds * 1000));
    return `AuthSession=${token}; Version=1; Expires=${expires}; Max-Age=${seconds}; Path=/; HttpOnly`;
  }

  /** /_session: returns the user, logs in, logs out. */
  async session(exchange) {
    switch (exchange.verb) {
      case 'GET': {
        const info = { authentication_handlers: this._handlers };
        if (exchange.authenticated) info.authenticated = exchange.authenticated;
        const database = this.node.settings.get('chttpd_auth', 'authentication_db');
        if (database) info.authentication_db = database;
        return exchange.send(200, { ok: true, userCtx: exchange.user, info });
      }
      case 'POST': {
        const { name, password } = await this._loginForm(exchange);
        let user;
        try {
          user = await this.login(exchange, String(name || ''), String(password || ''));
        } catch (error) {
          error.headers = { 'Set-Cookie': this._cookie('') };
          throw error;
        }
        exchange.user = { name: user.name, roles: user.roles };
        const headers = { 'Set-Cookie': this._cookie(this._token(user.name, user)) };
        return exchange.send(200, { ok: true, name: user.name, roles: user.roles }, headers);
      }
      case 'DELETE':
        return exchange.send(200, { ok: true }, { 'Set-Cookie': this._cookie('') });
      default:
        throw methodNotAllowed('GET,HEAD,POST,DELETE');
    }
  }

  async _loginForm(exchange) {
    if (/^application\/x-www-form-urlencoded/.test(exchange.header('content-type') || '')) {
      return Object.fromEntries(new URLSearchParams((await exchange.body()).toString('utf8')));
    }
    return exchange.jsonObject();
  }
}

/** Handler in `[chttpd] authentication_handlers` → its function. Unknown handlers authenticate nobody. */
const { _fromCookie: cookie, _fromBasic: basic, _fromToken: token } = Authenticator.prototype;
const FROM = { cookie, default: basic, jwt: token };

/** The database that holds the users. */
const authenticationDatabase = (settings) => settings.get('chttpd_auth', 'authentication_db') || '_users';

/* Permissions */

function requireServerAdmin(exchange) {
  if (!exchange.isAdmin) throw unauthorized('You are not a server admin.');
}

const listed = (user, group) =>
  Boolean(group) && ((group.names || []).includes(user.name) || (group.roles || []).some((role) => user.roles.includes(role)));

/** Measurements of a node are also for users with the role `_metrics`. */
function requireMetrics(exchange) {
  if (!exchange.isAdmin && !exchange.user.roles.includes('_metrics')) {
    throw unauthorized('You are not a server admin or read-only metrics user');
  }
}

/** The error for a missing permission: 401 for anonymous requests, 403 for users. */
function refused(exchange, reason) {
  return exchange.user.name === null ? unauthorized(reason) : forbidden(reason);
}

function isDatabaseAdmin(exchange, database) {
  return exchange.isAdmin || listed(exchange.user, database.security.admins);
}

const NO_DATABASE_ADMIN = 'You are not a db or server admin.';

function requireDatabaseAdmin(exchange, database) {
  if (!isDatabaseAdmin(exchange, database)) throw refused(exchange, NO_DATABASE_ADMIN);
}

/** Compaction reports a missing permission in other words, and always with 401. */
function requireMaintainer(exchange, database) {
  if (!isDatabaseAdmin(exchange, database)) throw unauthorized('You are not a server or db admin.');
}

/** Permissions for the paths of system databases and of the server, checked before anything else. */
function requireForSystem(exchange) {
  const [first, second] = exchange.path;
  const lists = /^_(users|replicator)$/.test(first) && /^_(all_docs|changes)$/.test(second);
  if (lists || (/^_/.test(first) && !/^_(users|replicator|stats)$/.test(first))) requireServerAdmin(exchange);
}

function requireMember(exchange, database) {
  if (isDatabaseAdmin(exchange, database)) return;
  const members = database.security.members || database.security.readers || {};
  if (!(members.names || []).length && !(members.roles || []).length) return;
  if (listed(exchange.user, members)) return;
  if (exchange.user.name === null) throw unauthorized('You are not authorized to access this db.');
  throw forbidden('You are not allowed to access this db.');
}

module.exports = {
  Authenticator, authenticationDatabase, requireServerAdmin, requireMetrics, requireForSystem, isDatabaseAdmin, requireDatabaseAdmin,
  requireMaintainer, requireMember, refused,
};
