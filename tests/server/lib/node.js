// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * One node of CouchDB 3: its listener, its settings, its registry of databases and members, start and stop.
 *
 * A restart closes the listener, drops what a CouchDB process has in memory, and opens again with what the files say. The
 * databases stay open in the engine, as if they were on disk.
 */

'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const path = require('node:path');
const { EventEmitter } = require('node:events');
const { Authenticator, authenticationDatabase } = require('./auth');
const { memberEntry } = require('./cluster');
const { Settings } = require('./config');
const { Database } = require('./database');
const { HttpError } = require('./errors');
const { Exchange } = require('./exchange');
const { listenAt } = require('./listen');
const { Log } = require('./log');
const passwords = require('./passwords');
const { Scheduler } = require('./scheduler');
const { AT_ONCE, keepsFromStarting, stopsServer } = require('./terms');
const { Statistics } = require('./statistics');
const { route } = require('./router');

// After the request for a restart, the node answers for a moment, then it is down.
const RESTART_DELAY = 100;
const RESTART_AWAY = 1200;
// Milliseconds from a change of a setting to its effect on the node.
const SETTING_DELAY = 20;

class Node {
  /** `etc`: what an etc directory says of this node; without it, the node is one of several in this process. */
  constructor({ index, cluster, version, data, port, single, journal, replicatorKey, etc }) {
    this.index = index;
    this.etc = etc;
    this.name = etc ? etc.name : `node${index}@127.0.0.1`;
    this.cluster = cluster;
    this.version = version;
    this.single = single;
    this.journal = journal;
    this.replicatorKey = replicatorKey;
    this.isUp = false;
    this.peers = new Set();
    this.registry = new Map();
    this.members = new Map([[this.name, memberEntry(1, false)]]);
    this._data = data;
    this._home = etc ? data : path.join(data, `node${index}`);
    this._asked = port;
    this._stopping = new EventEmitter();
    this.opened = new Set();
    this.distributionEvents = {};
    this.settings = etc ? etc.settings : this._ownSettings();
    this.settings.on('change', (change) => this._settingChanged(change));
    this._loadRegistry();
    cluster.add(this);
  }

  _ownSettings() {
    fs.mkdirSync(path.join(this._home, 'etc'), { recursive: true });
    return new Settings({
      defaults: this._defaults(),
      file: path.join(this._home, 'etc', 'local.ini'),
      keepDefaults: this.version.keepDefaults,
    });
  }

  _defaults() {
    const directory = path.join(this._data, 'databases');
    return {
      ...this.version.defaults,
      ...(this.single ? { cluster: { n: '1' } } : {}),
      chttpd: { bind_address: '127.0.0.1', port: String(this._asked) },
      vendor: { name: 'The Apache Software Foundation' },
      feature_flags: { 'partitioned||*': 'true' },
      chttpd_auth: { hash_algorithms: 'sha256, sha' },
      indexers: { couch_mrview: 'true' },
      prometheus: { additional_port: 'false', bind_address: '127.0.0.1', port: '17986' },
      httpd: { bind_address: '127.0.0.1', enable: 'true', port: '15986' },
      smoosh: { state_dir: directory },
      couch_httpd_auth: { authentication_db: '_users' },
      couchdb_engines: { couch: 'couch_bt_engine' },
      couchdb: { database_dir: directory, view_index_dir: directory },
    };
  }

  get uuid() {
    return this.settings.get('couchdb', 'uuid');
  }

  /** The IP address that this node listens on: that of the settings only with an etc directory. */
  get host() {
    const asked = (this.etc && this.settings.get('chttpd', 'bind_address')) || '127.0.0.1';
    return asked === 'any' ? '0.0.0.0' : asked;
  }

  get address() {
    return `${this.host.includes(':') ? `[${this.host}]` : this.host}:${this.port}`;
  }

  get uptime() {
    return Math.floor((Date.now() - this._startedAt) / 1000);
  }

  /* Life */

  /** Generates the settings that a node needs and stores at its first start. */
  firstSettings(admin) {
    const { settings } = this;
    if (!settings.get('couchdb', 'uuid')) settings.set('couchdb', 'uuid', crypto.randomBytes(16).toString('hex'));
    if (!settings.get('chttpd_auth', 'secret')) settings.set('chttpd_auth', 'secret', crypto.randomBytes(16).toString('hex'));
    if (admin) settings.set('admins', admin.name, admin.hash);
  }

  async start() {
    const { settings } = this;
    settings.load();
    if (!Object.keys(settings.section('admins')).length) throw new Error(`${this.name}: no admin is set; CouchDB 3 does not start`);
    const port = settings.get('chttpd', 'port') || '5984';
    const wrong = keepsFromStarting(settings);
    if (wrong) throw new Error(`${this.name}: CouchDB does not start with the setting ${wrong}`);
    this.statistics = new Statistics(this.version);
    // A node without a uuid or a secret generates and stores one.
    this.firstSettings(null);
    await this._hashAdmins();
    const places = this.etc ? {} : { directory: path.join(this._home, 'log'), root: this._data };
    this.log = new Log({ node: this.name, settings, statistics: this.statistics, ...places });
    this.auth = new Authenticator(this);
    this.scheduler = new Scheduler(this);
    this._startedAt = Date.now();
    this.opened.clear();
    this.distributionEvents = {};
    await this.cluster.open(this);
    await this._listen(Number(port));
    if (this.etc) await this._listenByTls();
    if (!this.etc) settings.setDefault('chttpd', 'port', String(this._asked || this.port));
    this.isUp = true;
    this.log.write('info', 'Apache CouchDB has started. Time to relax.');
    this.cluster.welcome(this);
    this.scheduler.rescan();
  }

  _listen(port) {
    const server = http.createServer((request, response) => this._serve(request, response));
    server.keepAliveTimeout = 60000;
    return listenAt(server, this.host, port).then(() => {
      this._server = server;
      this.port = server.address().port;
      if (!this._asked) this._asked = this.port;
    });
  }

  /** `[ssl] enable`: the same answers on a second port. */
  async _listenByTls() {
    const { settings } = this;
    if (!settings.isTrue('ssl', 'enable')) return;
    const read = (key) => fs.readFileSync(settings.get('ssl', key) || '');
    const options = { cert: read('cert_file'), key: read('key_file'), passphrase: settings.get('ssl', 'password') };
    const server = https.createServer(options, (request, response) => this._serve(request, response));
    await new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ port: Number(settings.get('ssl', 'port') || 6984), host: this.host }, resolve);
    });
    this._tlsServer = server;
  }

  async _unlistenByTls() {
    const server = this._tlsServer;
    this._tlsServer = null;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  async _unlisten() {
    const server = this._server;
    this._server = null;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  async stop() {
    if (!this.isUp) return;
    this.isUp = false;
    this._stopping.emit('stop');
    this.scheduler.stop();
    this.cluster.farewell(this);
    await this._unlisten();
    await this._unlistenByTls();
  }

  onceStopped(listener) {
    this._stopping.once('stop', listener);
  }

  /** Restarts, once the answer to POST _restart is sent. Requests during a restart are ignored. */
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
      this._died(error);
    } finally {
      this._restarting = false;
    }
  }

  /** Reports a node that died. A real node's process would end; here the other nodes go on. */
  _died(error) {
    process.stderr.write(`${error.message}\n`);
    if (this.cluster.nodes.size === 1) process.emit('nodeDied', error);
  }

  _settingChanged({ section, key, value, deleted }) {
    if (this.log) {
      const secret = section === 'admins' || (section === 'replicator' && key === 'password');
      const what = deleted ? 'deleted' : `set to ${secret ? "'****'" : value}`;
      this.log.write('notice', `config: [${section}] ${key} ${what} for reason nil`);
    }
    if (!deleted && this.isUp && stopsServer(section, key, value) === AT_ONCE) {
      setTimeout(() => this._stopForGood(`CouchDB stops with the setting ${section}/${key}: ${value}`), SETTING_DELAY);
      return;
    }
    if (section === 'chttpd' && key === 'port' && this.isUp && value !== String(this.port)) {
      setTimeout(() => this._movePort(value), SETTING_DELAY);
    }
    if (section === 'chttpd' && key === 'bind_address' && this.etc && this.isUp) {
      setTimeout(() => this._movePort(String(this.port)), SETTING_DELAY);
    }
  }

  /** Stops a node as a value does that stops CouchDB. */
  async _stopForGood(why) {
    await this.stop();
    this._died(new Error(`${this.name}: ${why}`));
  }

  /** Opens the listener again, on another port. */
  async _movePort(value) {
    await this._unlisten();
    try {
      await this._listen(Number(value));
    } catch (error) {
      await this.stop();
      return this._died(error);
    }
    return undefined;
  }

  /* Settings of server admins */

  /** Hashes the plain passwords in the files, at the start. */
  async _hashAdmins() {
    for (const [name, value] of Object.entries(this.settings.section('admins'))) {
      if (!passwords.parseAdmin(value, this.version)) await this.setAdmin(name, value, true);
    }
  }

  async setAdmin(name, value, persist) {
    const hashed = passwords.parseAdmin(value, this.version)
      ? value
      : passwords.formatAdmin(await passwords.hash(value, this.settings, this.version), this.version);
    this.settings.set('admins', name, hashed, persist);
  }

  /* Requests */

  _serve(request, response) {
    return this._answer(new Exchange(this, request, response), (exchange) => this.auth.identify(exchange));
  }

  /** Answers a request that another node has authenticated and forwarded. */
  serveNode(request, response, user) {
    return this._answer(new Exchange(this, request, response), (exchange) => {
      Object.assign(exchange, { user, authenticated: 'default', isHandedOn: true });
    });
  }

  async _answer(exchange, identify) {
    const { response } = exchange;
    response.on('close', () => exchange.finished(exchange.status || response.statusCode || 0));
    try {
      await identify(exchange);
      await route(exchange);
    } catch (error) {
      if (response.headersSent) {
        response.destroy();
        return;
      }
      if (error instanceof HttpError) {
        exchange.sendError(error);
        return;
      }
      this.log.write('error', String(error.stack || error).replace(/\n\s*/g, ' | '), exchange.id());
      exchange.sendError(new HttpError(500, 'unknown_error', String(error.message || error)));
    }
  }

  /** Counts and logs an answered request, and writes it to the journal unless it came from the server's own replicator. */
  exchanged(exchange) {
    const { request, method, status } = exchange;
    this.statistics.count('couchdb/httpd/requests');
    this.statistics.count(`couchdb/httpd_request_methods/${method}`);
    this.statistics.count(`couchdb/httpd_status_codes/${status}`);
    this.statistics.sample('couchdb/request_time', exchange.milliseconds);
    const user = exchange.user.name;
    const line = `${exchange.header('host') || '-'} 127.0.0.1 ${user === null ? 'undefined' : user} ${method} ${request.url} ${status} ok ${Math.round(exchange.milliseconds)}`;
    this.log.write('notice', line, exchange.id());
    if (exchange.header('x-embedded-replicator') === this.replicatorKey) return;
    this.journal.add({
      node: this.name, method, path: request.url, status, user, failed_login: exchange.failedLogin,
    });
  }

  uuid32() {
    return crypto.randomBytes(16).toString('hex');
  }

  /* Members */

  memberNames() {
    return [...this.members].filter(([, entry]) => !entry.deleted).map(([name]) => name).sort();
  }

  /** Whether a node with a copy of a shard answers this one. */
  sees(name) {
    return name === this.name || (this.peers.has(name) && this.cluster.up(name));
  }

  /** Records that a node connected or disconnected. */
  noteEvent(name, event) {
    const time = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    this.distributionEvents[name] = [[time, event], ...(this.distributionEvents[name] || [])].slice(0, 10);
  }

  /* Databases */

  databaseNames() {
    return [...this.registry].filter(([, entry]) => !entry.deleted).map(([name]) => name).sort();
  }

  /** A string that changes with the list of databases. */
  databaseFingerprint() {
    return JSON.stringify([...this.registry].map(([name, { id, generation }]) => [name, id, generation]));
  }

  database(name) {
    const entry = this.registry.get(name);
    return entry && !entry.deleted ? entry.database : undefined;
  }

  register(database) {
    const known = this.registry.get(database.name);
    this._registered(
      database.name,
      this.cluster.registered({ id: database.id, generation: (known ? known.generation : 0) + 1, deleted: false, database }),
    );
  }

  async unregister(database) {
    const { generation } = this.registry.get(database.name);
    this._registered(database.name, { id: database.id, generation: generation + 1, deleted: true });
    if (database.references <= 0) await database.destroy();
  }

  _registered(name, entry) {
    this.setRegistered(name, entry);
    this.saveRegistry();
    this.cluster.spread(this);
  }

  /** Stores an entry of the registry, written by this node or another one. */
  setRegistered(name, entry) {
    const before = this.registry.get(name);
    if (before && before.database) before.database.references -= 1;
    if (entry.database) entry.database.references += 1;
    this.registry.set(name, entry);
    if (this.isUp) this.scheduler.rescan();
  }

  async userDocument(name) {
    const users = this.database(authenticationDatabase(this.settings));
    return users ? this.cluster.userDocument(users, name) : null;
  }

  /* Storing the lists of members and databases */

  get _registryFile() {
    return path.join(this._home, 'registry.json');
  }

  saveRegistry() {
    if (!this.cluster.engine.persistent) return;
    const registry = [...this.registry].map(([name, { id, generation, deleted, home }]) => [name, { id, generation, deleted, home }]);
    fs.writeFileSync(this._registryFile, JSON.stringify({ members: [...this.members], registry }));
  }

  _loadRegistry() {
    if (!this.cluster.engine.persistent || !fs.existsSync(this._registryFile)) return;
    const { members, registry } = JSON.parse(fs.readFileSync(this._registryFile, 'utf8'));
    this.members = new Map(members);
    const loaded = (this.cluster.loaded = this.cluster.loaded || new Map());
    for (const [name, entry] of registry) {
      if (!entry.deleted) {
        if (!loaded.has(entry.id)) loaded.set(entry.id, Database.load(this.cluster.engine, entry.id));
        entry.database = loaded.get(entry.id);
      }
      this.setRegistered(name, entry);
    }
  }
}

module.exports = { Node };
