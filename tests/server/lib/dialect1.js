// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The 1.x dialect: express-pouchdb nearly as it is, with what CouchDB 1.x had and it lacks.
 *
 * Put in front of its routes: POST /_restart, /_stats with sections and keys, settings that stay the text they are,
 * a log that ends where it says, and replications that can be stopped. The welcome object stays PouchDB's own.
 */

'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { PouchDB } = require('./engine');
const { summarize } = require('./statistics');

const RESTART_DELAY = 100;
const RESTART_AWAY = 1200;
const MOST_SAMPLES = 1024;

/** The statistics of CouchDB 1.x: section → key → what it tells. */
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

class Refused extends Error {
  constructor(status, error, reason) {
    super(reason);
    Object.assign(this, { status, error, reason });
  }
}

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
    this._replications = new Map();
    await this._makeApplication();
    await this._listen(this._asked);
    this._asked = this.port;
    this.isUp = true;
  }

  async _makeApplication() {
    const directory = path.join(this.data, 'databases');
    fs.mkdirSync(directory, { recursive: true });
    if (!this.persistent) PouchDB.plugin(require('pouchdb-adapter-memory'));
    this.Database = PouchDB.defaults(
      this.persistent ? { prefix: directory + path.sep, adapter: 'leveldb' } : { prefix: '', adapter: 'memory' },
    );
    const settings = fs.existsSync(this._configFile) ? JSON.parse(fs.readFileSync(this._configFile, 'utf8')) : {};
    if (this.admin) settings.admins = { ...(settings.admins || {}), [this.admin.name]: this.admin.password };
    // The admin is in the file once; what is done to it later, a restart finds as it was left.
    this.admin = null;
    fs.writeFileSync(this._configFile, JSON.stringify(settings), { mode: 0o600 });
    this.app = require('express-pouchdb')({ configPath: this._configFile, logPath: this._logFile });
    this._addRoutes();
    await this.app.setPouchDB(this.Database);
    await this._settled();
  }

  /** The application hashes the admin's password and makes its databases in the background. */
  async _settled() {
    for (let attempt = 0; attempt < 200; attempt += 1) {
      const admins = Object.values(this.app.couchConfig.getSection('admins'));
      const names = await this.Database.allDbs();
      if (admins.every((value) => /^-(pbkdf2|hashed)-/.test(value)) && names.includes('_users') && names.includes('_replicator')) {
        // What was read before the hash was there must be read again.
        this.app.couchConfig.emit('admins');
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error('the 1.x dialect did not get ready');
  }

  /** Puts the routes of our own behind authentication and before the application's. */
  _addRoutes() {
    this.app.use((request, response, next) => {
      request.embeddedUser = request.couchSession.userCtx.name;
      this._own(request, response, next).catch((error) => {
        if (!(error instanceof Refused)) process.stderr.write(`${error.stack}\n`);
        send(response, error.status || 500, { error: error.error || 'unknown_error', reason: error.reason || error.message });
      });
    });
    const { stack } = this.app._router;
    const layer = stack.pop();
    const root = stack.findIndex(({ route }) => route && route.path === '/');
    stack.splice(root, 0, layer);
  }

  _listen(port) {
    const server = http.createServer((request, response) => this._serve(request, response));
    server.keepAliveTimeout = 60000;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ port, host: '127.0.0.1' }, () => {
        this._server = server;
        this.port = server.address().port;
        resolve();
      });
    });
  }

  async stop() {
    if (!this.isUp) return;
    this.isUp = false;
    for (const replication of this._replications.values()) replication.cancel();
    const closed = new Promise((resolve) => this._server.close(resolve));
    this._server.closeAllConnections();
    await closed;
  }

  restart() {
    setTimeout(async () => {
      await this.stop();
      setTimeout(() => this.start().catch((error) => process.stderr.write(`${error.message}\n`)), RESTART_AWAY);
    }, RESTART_DELAY);
  }

  _serve(request, response) {
    const began = process.hrtime.bigint();
    const { method, url } = request;
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
    // Before the first byte goes out, so that who has the answer can read the journal.
    response.writeHead = (status, ...given) => {
      response.statusCode = status;
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

  /* What CouchDB 1.x has and express-pouchdb lacks, or does otherwise */

  async _own(request, response, next) {
    const { method } = request;
    const [first, ...rest] = request.url.split('?')[0].split('/').slice(1).map(decodeURIComponent);
    if (first === '_restart' && !rest.length) {
      if (method !== 'POST') throw new Refused(405, 'method_not_allowed', 'Only POST allowed');
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
    return next();
  }

  async _statistics([section, key]) {
    const known = (group, name) => STATISTICS[group] && STATISTICS[group][name] !== undefined;
    if (section !== undefined && (!STATISTICS[section] || (key !== undefined && !known(section, key)))) {
      throw new Refused(404, 'not_found', 'missing');
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

  /** Settings are text. Only what express-pouchdb itself reads as a number or a boolean is stored as one. */
  async _putSetting(request, response, next, [section, key]) {
    requireAdmin(request);
    const config = this.app.couchConfig;
    if (config.get('httpd', 'config_whitelist')) return next();
    const value = await readJson(request);
    if (typeof value !== 'string') throw new Refused(500, 'unknown_error', 'badarg');
    const text = value.trim();
    const standard = (config._defaults[section] || {})[key];
    let stored = text;
    if (standard !== undefined && typeof standard !== 'string') {
      try {
        stored = JSON.parse(text);
      } catch {
        // Then it is text after all.
      }
    }
    const old = config.get(section, key);
    await new Promise((resolve, reject) => {
      config.set(section, key, stored, (error) => (error ? reject(error) : resolve()));
    });
    if (old === undefined) return send(response, 200, '');
    return send(response, 200, typeof old === 'string' ? old : JSON.stringify(old));
  }

  /** A replication between databases that exist; one that goes on until it is stopped, where that is asked for. */
  async _replicate(request, response) {
    requireAdminParty(request, this.app.couchConfig.getSection('admins'));
    const body = await readJson(request);
    const ends = ['source', 'target'].map((end) => endOf(body && body[end], end));
    const choice = {};
    for (const field of ['doc_ids', 'filter', 'query_params']) if (body[field] !== undefined) choice[field] = body[field];
    const digest = crypto.createHash('md5').update(JSON.stringify([...ends, choice])).digest('hex');
    const id = `${digest}${body.continuous ? '+continuous' : ''}${body.create_target ? '+create_target' : ''}`;
    if (body.cancel === true) {
      const running = this._replications.get(id);
      if (!running) throw new Refused(404, 'not_found', 'could not find running replication');
      running.cancel();
      this._replications.delete(id);
      return send(response, 200, { ok: true, _local_id: id });
    }
    const names = await this.Database.allDbs();
    const opened = ends.map(({ name, url, headers }, index) => {
      if (url) return new this.Database(url, headers ? { fetch: withHeaders(headers) } : {});
      if (!names.includes(name) && !(index === 1 && body.create_target)) {
        throw new Refused(404, 'db_not_found', `could not open ${name}`);
      }
      return new this.Database(name);
    });
    const started = new Date();
    if (body.continuous === true) {
      if (!this._replications.has(id)) {
        const running = PouchDB.replicate(...opened, { ...choice, live: true, retry: true });
        running.on('error', () => this._replications.delete(id));
        this._replications.set(id, running);
      }
      return send(response, 202, { ok: true, _local_id: id });
    }
    let done;
    try {
      done = await PouchDB.replicate(...opened, choice);
    } catch (error) {
      throw new Refused(error.status || 500, error.name || 'error', error.reason || error.message);
    }
    const session = crypto.randomBytes(16).toString('hex');
    return send(response, 200, {
      ok: true,
      ...(done.docs_read ? {} : { no_changes: true }),
      session_id: session,
      source_last_seq: done.last_seq,
      replication_id_version: 3,
      history: [
        {
          session_id: session,
          start_time: started.toUTCString(),
          end_time: new Date().toUTCString(),
          start_last_seq: 0,
          end_last_seq: done.last_seq,
          recorded_seq: done.last_seq,
          missing_checked: done.docs_read,
          missing_found: done.docs_read,
          docs_read: done.docs_read,
          docs_written: done.docs_written,
          doc_write_failures: done.doc_write_failures,
        },
      ],
    });
  }
}

function requireAdmin(request) {
  if (!request.couchSession.userCtx.roles.includes('_admin')) {
    throw new Refused(401, 'unauthorized', 'You are not a server admin.');
  }
}

/** Where there are admins, replicating is for those who have logged in. */
function requireAdminParty(request, admins) {
  if (Object.keys(admins).length && request.couchSession.userCtx.name === null) {
    throw new Refused(401, 'unauthorized', 'You are not authorized to replicate.');
  }
}

function requireJson(request) {
  if (!/^application\/json/i.test(request.headers['content-type'] || '')) {
    throw new Refused(415, 'bad_content_type', 'Content-Type must be application/json');
  }
}

async function readJson(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new Refused(400, 'bad_request', 'invalid_json');
  }
}

/** One end of a replication: the name of a database here, or an address. */
function endOf(given, end) {
  const { url, headers } = given && typeof given === 'object' ? given : { url: given };
  if (typeof url !== 'string' || !url) throw new Refused(400, 'bad_request', `missing ${end}`);
  return /^https?:\/\//.test(url) ? { url, headers } : { name: url };
}

function withHeaders(headers) {
  return (url, options) => {
    for (const [name, value] of Object.entries(headers)) options.headers.set(name, value);
    return PouchDB.fetch(url, options);
  };
}

/** What CouchDB 1.x tells of a statistic: numbers, or nulls while there is nothing to count. */
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

async function start(options) {
  const node = new Node1(options);
  await node.start();
  return { nodes: [node], stop: () => node.stop() };
}

module.exports = { start };
