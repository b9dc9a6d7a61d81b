// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The 1.x dialect: express-pouchdb, with what CouchDB 1.x has and express-pouchdb lacks.
 *
 * Routes before its own: POST /_restart, /_stats with sections and keys, settings that stay strings, the log, replications
 * that can be stopped, and the permissions to create and delete databases. The welcome object is PouchDB's own. pouch1.js
 * holds the changes within express-pouchdb.
 */

'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { PouchDB } = require('./engine');
const { HttpError, badRequest, notFound, unauthorized } = require('./errors');
const { saveInTurn, storage, storedName, tellNames, toldName, watchReplicatorBy } = require('./pouch1');
const { Replications, planOf } = require('./replication1');
const { summarize } = require('./statistics');
const { listenAt } = require('./listen');

const RESTART_DELAY = 100;
const RESTART_AWAY = 1200;
const MOST_SAMPLES = 1024;
const SESSIONS = 'pouch__auth_sessions__';

/** The statistics of CouchDB 1.x: section → key → description. */
const STATISTICS = {
  couchdb: {
    database_writes: 'number of times a database was changed',
    open_databases: 'number of open databases',
    request_time: 'length of a request inside CouchDB without MochiWeb',
  },
  httpd: {
    bulk_requests: 'number of bulk requests',
    requests: 'number of HTTP requests',
    view_reads: 'number of view reads',
  },
  httpd_request_methods: Object.fromEntries(
    ['COPY', 'DELETE', 'GET', 'HEAD', 'POST', 'PUT'].map((method) => [method, `number of HTTP ${method} requests`]),
  ),
  httpd_status_codes: Object.fromEntries(
    [200, 201, 202, 301, 304, 400, 401, 403, 404, 405, 409, 412, 500].map((code) => [code, `number of HTTP ${code} responses`]),
  ),
};

class Node1 {
  constructor({ admin, port, data, persistent, journal }) {
    Object.assign(this, { admin, data, persistent, journal });
    this.name = 'couchdb@localhost';
    this.isUp = false;
    this._asked = port;
    this._logFile = path.join(data, 'couchdb.log');
    this._configFile = path.join(data, 'config.json');
  }

  get address() {
    return `127.0.0.1:${this.port}`;
  }

  async start() {
    this._samples = new Map();
    this._counts = new Map();
    // A second setup in one process would handle each event twice.
    if (this.app) this.app.couchConfig._config = this._readSettings();
    else await this._makeApplication();
    await this.replications.documents.start(this._replicatorName());
    await this._listen(this._asked);
    this._asked = this.port;
    this.isUp = true;
  }

  _readSettings() {
    return fs.existsSync(this._configFile) ? JSON.parse(fs.readFileSync(this._configFile, 'utf8')) : {};
  }

  _replicatorName() {
    return this.app.couchConfig.get('replicator', 'db');
  }

  async _makeApplication() {
    const directory = path.join(this.data, 'databases');
    fs.mkdirSync(directory, { recursive: true });
    if (!this.persistent) PouchDB.plugin(require('pouchdb-adapter-memory'));
    this.Database = PouchDB.defaults(
      this.persistent ? { prefix: directory + path.sep, adapter: 'leveldb' } : { prefix: '', adapter: 'memory' },
    );
    this._key = crypto.randomBytes(16).toString('hex');
    this.replications = new Replications({ Database: this.Database, key: this._key });
    // The replicator database can change, or be created again with the same name.
    watchReplicatorBy(async () => this.isUp && this.replications.documents.start(this._replicatorName()));
    const settings = this._readSettings();
    if (this.admin) settings.admins = { ...(settings.admins || {}), [this.admin.name]: this.admin.password };
    // The admin is written once. A restart keeps later changes of it.
    this.admin = null;
    const text = JSON.stringify(settings);
    fs.writeFileSync(this._configFile, text, { mode: 0o600 });
    this.app = require('express-pouchdb')({ configPath: this._configFile, logPath: this._logFile });
    saveInTurn(this.app.couchConfig);
    tellNames(this.app);
    this._addRoutes();
    await this.app.setPouchDB(this.Database);
    await this._settled(text);
  }

  /** Waits until the application has hashed the admin's password and created its databases, in the background. */
  async _settled(before) {
    for (let attempt = 0; attempt < 200; attempt += 1) {
      const admins = Object.values(this.app.couchConfig.getSection('admins'));
      const names = await this.Database.allDbs();
      const hashed = admins.every((value) => /^-(pbkdf2|hashed)-/.test(value));
      // It rewrites the file once, which must not overlap with the first change of a setting.
      const saved = fs.readFileSync(this._configFile, 'utf8') !== before;
      if (hashed && saved && names.includes('_users') && names.includes('_replicator')) {
        // Settings from before the hash are read again.
        this.app.couchConfig.emit('admins');
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error('the 1.x dialect did not get ready');
  }

  /** Inserts the routes of this module after authentication and before those of the application. */
  _addRoutes() {
    this.app.use((request, response, next) => {
      request.embeddedUser = request.couchSession.userCtx.name;
      const moved = withStoredName(request.url);
      if (moved) request.url = moved.url;
      this._own(request, response, next).catch((error) => refuse(response, error));
    });
    const { stack } = this.app._router;
    const layer = stack.pop();
    const root = stack.findIndex(({ route }) => route && route.path === '/');
    stack.splice(root, 0, layer);
    // Exceptions of the application's routes become errors in the form used here.
    this.app.use((error, request, response, next) => (response.headersSent ? next(error) : refuse(response, error)));
  }

  _listen(port) {
    const server = http.createServer((request, response) => this._serve(request, response));
    server.keepAliveTimeout = 60000;
    return listenAt(server, '127.0.0.1', port).then(() => {
      this._server = server;
      this.port = server.address().port;
    });
  }

  async stop() {
    if (!this.isUp) return;
    this.isUp = false;
    this.replications.stop();
    const closed = new Promise((resolve) => this._server.close(resolve));
    this._server.closeAllConnections();
    await closed;
  }

  restart() {
    if (this._restarting) return;
    this._restarting = true;
    setTimeout(async () => {
      await this.stop();
      setTimeout(() => this._startAgain(), RESTART_AWAY);
    }, RESTART_DELAY);
  }

  async _startAgain() {
    try {
      await this.start();
    } catch (error) {
      process.stderr.write(`${error.message}\n`);
    } finally {
      this._restarting = false;
    }
  }

  _serve(request, response) {
    const began = process.hrtime.bigint();
    const { method, url } = request;
    const moved = withStoredName(url);
    const writeHead = response.writeHead;
    let told = false;
    const tell = () => {
      if (told) return;
      told = true;
      const took = Number(process.hrtime.bigint() - began) / 1e6;
      this._count(`httpd_request_methods/${method}`);
      this._count(`httpd_status_codes/${response.statusCode}`);
      this._count('httpd/requests');
      this._sample('couchdb/request_time', took);
      // Requests of the server's own replicator are left out.
      if (request.headers['x-embedded-replicator'] === this._key) return;
      const tried = Boolean(request.headers.authorization) || (method === 'POST' && url.startsWith('/_session'));
      this.journal.add({
        node: this.name,
        method,
        path: url,
        status: response.statusCode,
        user: request.embeddedUser === undefined ? null : request.embeddedUser,
        failed_login: response.statusCode === 401 && tried && !request.embeddedUser,
      });
    };
    // Before the first byte is sent, so that a client that has the answer finds it in the journal.
    response.writeHead = (status, ...given) => {
      response.statusCode = status;
      const location = moved && response.getHeader('Location');
      if (location) response.setHeader('Location', location.replace(`/${moved.stored}`, `/${moved.told}`));
      tell();
      return writeHead.call(response, status, ...given);
    };
    response.on('close', tell);
    this.app(request, response);
  }

  _count(name) {
    this._counts.set(name, (this._counts.get(name) || 0) + 1);
  }

  _sample(name, value) {
    const samples = this._samples.get(name) || [];
    samples.push(value);
    if (samples.length > MOST_SAMPLES) samples.shift();
    this._samples.set(name, samples);
  }

  /* What CouchDB 1.x has and express-pouchdb lacks or does in another way */

  async _own(request, response, next) {
    const { method } = request;
    const [first, ...rest] = request.url.split('?')[0].split('/').slice(1).map(decodeURIComponent);
    if (first === '_restart' && !rest.length) {
      if (method !== 'POST') throw new HttpError(405, 'method_not_allowed', 'Only POST allowed');
      requireAdmin(request);
      requireJson(request);
      send(response, 202, { ok: true });
      return this.restart();
    }
    if (first === '_stats' && method === 'GET') return send(response, 200, await this._statistics(rest));
    if (first === '_log' && method === 'GET') {
      requireAdmin(request);
      return this._tail(request, response);
    }
    if (first === '_config' && rest.length === 2 && method === 'PUT') return this._putSetting(request, response, next, rest);
    if (first === '_replicate' && method === 'POST') return this._replicate(request, response);
    if (first === '_all_dbs' && method === 'GET' && !rest.length) return send(response, 200, await this._names());
    if (first && first !== '_session' && !rest.some(Boolean) && /^(PUT|DELETE)$/.test(method)) {
      requireAdmin(request);
      const there = (await this.Database.allDbs()).includes(first);
      if (method === 'DELETE' && !request.query.rev && !there) throw notFound('missing');
    }
    if (method === 'DELETE' && rest[0] === '_index' && rest.length === 4) await this._requireIndex(first, rest[1], rest[3]);
    return next();
  }

  /** PouchDB fails on a missing index. */
  async _requireIndex(name, design, index) {
    if (!(await this.Database.allDbs()).includes(name)) return;
    const database = await storage.getOrCreateDB(this.Database, name);
    const { views } = await database.get(design).catch(() => ({}));
    if (!views || !views[index]) throw notFound('missing');
  }

  /** The databases, by the names that clients use. */
  async _names() {
    const names = await this.Database.allDbs();
    return names.filter((name) => name !== SESSIONS).map(toldName).sort();
  }

  async _statistics([section, key]) {
    const known = (group, name) => STATISTICS[group] && STATISTICS[group][name] !== undefined;
    if (section !== undefined && (!STATISTICS[section] || (key !== undefined && !known(section, key)))) {
      throw notFound('missing');
    }
    const databases = (await this.Database.allDbs()).length;
    const answer = {};
    for (const group of section === undefined ? Object.keys(STATISTICS) : [section]) {
      answer[group] = {};
      for (const name of key === undefined ? Object.keys(STATISTICS[group]) : [key]) {
        const path = `${group}/${name}`;
        const single = path === 'couchdb/open_databases' ? databases : this._counts.get(path);
        answer[group][name] = { description: STATISTICS[group][name], ...numbers(this._samples.get(path), single) };
      }
    }
    return answer;
  }

  _tail(request, response) {
    const { searchParams } = new URL(request.url, 'http://localhost');
    const bytes = Number(searchParams.get('bytes')) || 1000;
    const offset = Number(searchParams.get('offset')) || 0;
    const file = this.app.couchConfig.get('log', 'file');
    const log = fs.existsSync(file) ? fs.readFileSync(file) : Buffer.alloc(0);
    const end = Math.max(0, log.length - offset);
    const text = log.subarray(Math.max(0, end - bytes), end);
    response.writeHead(200, { 'Content-Type': 'text/plain; charset=utf-8', 'Content-Length': text.length });
    response.end(text);
  }

  /** Settings are strings. Only those that express-pouchdb reads as numbers or booleans are stored as such. */
  async _putSetting(request, response, next, [section, key]) {
    requireAdmin(request);
    const config = this.app.couchConfig;
    if (config.get('httpd', 'config_whitelist')) return next();
    const value = await readJson(request);
    if (typeof value !== 'string') throw new HttpError(500, 'unknown_error', 'badarg');
    const text = value.trim();
    const standard = (config._defaults[section] || {})[key];
    let stored = text;
    if (standard !== undefined && typeof standard !== 'string') {
      try {
        stored = JSON.parse(text);
      } catch {
        // It stays a string.
      }
    }
    const before = await new Promise((resolve, reject) => {
      config.set(section, key, stored, (error, was) => (error ? reject(error) : resolve(was)));
    });
    const old = before === undefined ? standard : before;
    if (old === undefined) return send(response, 200, '');
    return send(response, 200, typeof old === 'string' ? old : JSON.stringify(old));
  }

  /** A replication between existing databases; a continuous one runs until it is stopped. */
  async _replicate(request, response) {
    requireLogin(request, this.app.couchConfig.getSection('admins'));
    const body = await readJson(request);
    const named = body && body.cancel === true && (body.replication_id || body._local_id);
    const plan = named ? { id: String(named) } : planOf(body);
    if (plan.createTarget && !plan.ends[1].url) requireAdmin(request);
    if (body.cancel === true) {
      this.replications.cancel(plan.id);
      return send(response, 200, { ok: true, _local_id: plan.id });
    }
    if (!plan.continuous) return send(response, 200, await this.replications.once(plan));
    await this.replications.begin(plan);
    return send(response, 202, { ok: true, _local_id: plan.id });
  }
}

function requireAdmin(request) {
  if (!request.couchSession.userCtx.roles.includes('_admin')) {
    throw unauthorized('You are not a server admin.');
  }
}

/** If there are server admins, replication needs a login. */
function requireLogin(request, admins) {
  if (Object.keys(admins).length && request.couchSession.userCtx.name === null) {
    throw unauthorized('You are not authorized to replicate.');
  }
}

function requireJson(request) {
  if (!/^application\/json/i.test(request.headers['content-type'] || '')) {
    throw new HttpError(415, 'bad_content_type', 'Content-Type must be application/json');
  }
}

async function readJson(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw badRequest('invalid_json');
  }
}

/** A URL with the name that PouchDB knows its database by, and both encoded names. */
function withStoredName(url) {
  const [whole, told] = /^\/([^/?]*)/.exec(url) || [];
  if (!told) return null;
  let name;
  try {
    name = decodeURIComponent(told);
  } catch {
    return null;
  }
  if (storedName(name) === name) return null;
  const stored = encodeURIComponent(storedName(name));
  return { url: `/${stored}${url.slice(whole.length)}`, told, stored };
}

/** A statistic of CouchDB 1.x: numbers, or nulls while there is nothing to count. */
function numbers(samples, single) {
  if (samples && samples.length) {
    const { min, max, arithmetic_mean: mean, standard_deviation: stddev } = summarize(samples);
    const sum = samples.reduce((total, value) => total + value, 0);
    return { current: sum, sum, mean, stddev, min, max };
  }
  if (single === undefined) return { current: null, sum: null, mean: null, stddev: null, min: null, max: null };
  return { current: single, sum: single, mean: single, stddev: null, min: 0, max: single };
}

function send(response, status, body) {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
  response.end(text);
}

/** Answers with an error for any exception. */
function refuse(response, error) {
  if (response.headersSent) return;
  if (error instanceof URIError) error = badRequest('invalid percent-encoding');
  if (!error.status) process.stderr.write(`${error.stack || error}\n`);
  const { status = 500, error: word = 'unknown_error', message } = error;
  send(response, status, { error: typeof word === 'string' ? word : error.name, reason: error.reason || message });
}

async function start(options) {
  const node = new Node1(options);
  await node.start();
  return { nodes: [node], stop: () => node.stop() };
}

module.exports = { start };
