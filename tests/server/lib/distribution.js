// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * A cluster of nodes that are separate processes on separate hosts. It does what cluster.js does within one process, over
 * HTTP on the port of Erlang's distribution, authenticated with the cookie.
 *
 * Each node sends its lists of members and databases to the nodes it lists, with each change and every second. A node that
 * does not answer is down. Each database lives on one node, its home: the others forward requests to it and keep a copy. When
 * its home is down or removed, the first member by name that is up takes over with its copy.
 */

'use strict';

const crypto = require('node:crypto');
const http = require('node:http');
const { Cluster, newer } = require('./cluster');
const { Database } = require('./database');
const { PouchDB } = require('./engine');
const { HttpError } = require('./errors');

const EVERY = 1000;
// Erlang waits a minute for a node that does not answer. One that is down refuses the connection, which is noticed at once.
const PATIENCE = 10000;
// Properties of a database that can change and are in no document.
const CHANGING = ['security', 'revsLimit', 'purgedInfosLimit'];

class Distribution extends Cluster {
  constructor(engine, { cookie, distribution }) {
    super(engine);
    this._cookie = cookie;
    this._place = distribution;
    this._up = new Set();
    this._copies = new Map();
  }

  add(node) {
    super.add(node);
    this.node = node;
  }

  exists(name) {
    return name === this.node.name || this._up.has(name);
  }

  up(name) {
    return name === this.node.name ? this.node.isUp : this._up.has(name);
  }

  connected(node) {
    return [node, ...[...node.peers].filter((name) => this._up.has(name)).map((name) => this._peer(name))];
  }

  reachable(node) {
    return node.memberNames().filter((name) => name !== node.name && this._up.has(name)).map((name) => this._peer(name));
  }

  peer(name) {
    return name === this.node.name ? this.node : this._peer(name);
  }

  /** What this node needs of another one. */
  _peer(name) {
    const config = (section, key) => `/_node/_local/_config/${encodeURIComponent(section)}/${encodeURIComponent(key)}`;
    return {
      name,
      isRemote: true,
      settings: {
        set: (section, key, value) => this._ask(name, 'PUT', config(section, key), value, ADMIN).catch(() => {}),
      },
    };
  }

  /* Life */

  /** Opens the port for other nodes and gets the missed changes, before the node answers clients. */
  async open(node) {
    this._server = http.createServer((request, response) => this._let(request, response));
    this._server.keepAliveTimeout = 60000;
    const { port, address: host } = this._place;
    await new Promise((resolve, reject) => {
      this._server.once('error', reject);
      this._server.listen({ port, host }, resolve);
    });
    await this._tellAll(node);
  }

  welcome(node) {
    this._follow();
    this._timer = setInterval(() => this._tick(node), EVERY);
  }

  farewell(node) {
    clearInterval(this._timer);
    for (const copy of this._copies.values()) copy.cancel();
    this._copies.clear();
    for (const name of node.peers) this._ask(name, 'POST', '/bye', { name: node.name }).catch(() => {});
    node.peers.clear();
    this._up.clear();
    this._server.close();
    // Requests that are being answered, and the farewells, get this long.
    setTimeout(() => this._server.closeAllConnections(), 100).unref();
  }

  async _tick(node) {
    await this._tellAll(node);
    if (!node.isUp) return;
    for (const [name, entry] of node.registry) {
      if (!entry.deleted && !this._isHome(entry) && this.homeOf(name) === node.name) this._takeOver(name, entry);
    }
    this._follow();
  }

  /* Sharing the lists */

  spread(node) {
    this._told = this._tellAll(node);
  }

  /** Resolves once the other nodes have the changes of this one. */
  async settle() {
    await this._told;
  }

  async _tellAll(node) {
    const names = new Set([...node.memberNames(), ...node.peers].filter((name) => name !== node.name));
    const learned = await Promise.all([...names].map((name) => this._tell(node, name)));
    if (node.isUp) node.scheduler.rescan();
    // Nodes that this one has just learned of exchange their lists, too.
    if (learned.some(Boolean)) await this._tellAll(node);
  }

  /** Exchanges the lists with a node. Returns whether something in its answer was new. */
  async _tell(node, name) {
    try {
      const answer = await this._ask(name, 'POST', '/tell', this._knowledge(node, name));
      this._isUp(name);
      return this._learn(node, answer);
    } catch (error) {
      if (error.refused && !this._complained) node.log && node.log.write('error', `${name} refuses this node: the cookies differ`);
      this._complained = Boolean(error.refused);
      this._isDown(name);
      return false;
    }
  }

  /** The lists of members and databases for a node; empty ones unless it is a member. */
  _knowledge(node, name) {
    const entry = node.members.get(name);
    if (!entry || entry.deleted) return { name: node.name, members: [], registry: [] };
    const registry = [...node.registry].map(([database, { id, generation, deleted, home, database: object }]) => [
      database,
      { id, generation, deleted, home, properties: object && object.properties() },
    ]);
    return { name: node.name, members: [...node.members], registry };
  }

  _learn(node, { name: from, members, registry }) {
    let learned = false;
    for (const [name, entry] of members) {
      if (!newer(entry, node.members.get(name))) continue;
      node.members.set(name, entry);
      learned = true;
    }
    for (const [name, { properties, ...entry }] of registry) {
      const known = node.registry.get(name);
      if (newer(entry, known)) {
        this._stopCopy(name);
        const same = known && known.database && known.database.id === entry.id ? known.database : null;
        if (known && known.database && (!same || entry.deleted)) known.database.destroy().catch(() => {});
        if (!entry.deleted) {
          this.engine.prepare();
          entry.database = same ? Object.assign(same, properties) : new Database(this.engine, properties);
          entry.database.save();
        }
        node.setRegistered(name, entry);
        learned = true;
      } else if (known && known.database && entry.home === from && known.home === from) {
        for (const field of CHANGING) known.database[field] = properties[field];
      }
    }
    if (learned) {
      node.saveRegistry();
      if (node.isUp) this._follow();
    }
    return learned;
  }

  _isUp(name) {
    if (this._up.has(name)) return;
    this._up.add(name);
    this.node.peers.add(name);
    this.node.noteEvent(name, 'nodeup');
  }

  _isDown(name) {
    this.node.peers.delete(name);
    if (this._up.delete(name)) this.node.noteEvent(name, 'nodedown');
  }

  /* Databases */

  _isHome(entry) {
    return !entry.home || entry.home === this.node.name;
  }

  /** The node that a database lives on. */
  homeOf(name) {
    const entry = this.node.registry.get(name);
    if (!entry || entry.deleted || this._isHome(entry)) return this.node.name;
    const members = this.node.memberNames();
    if (members.includes(entry.home) && this.up(entry.home)) return entry.home;
    return members.find((member) => this.up(member)) || this.node.name;
  }

  owner(node, database) {
    return this.homeOf(database.name);
  }

  /** A database that is registered again keeps its home. */
  registered(entry) {
    const known = this.node.registry.get(entry.database.name);
    const stays = known && !known.deleted && known.id === entry.id;
    return { ...entry, home: stays ? known.home : this.node.name };
  }

  _takeOver(name, entry) {
    this._stopCopy(name);
    this.node.setRegistered(name, { ...entry, home: this.node.name, generation: entry.generation + 1 });
    this.node.saveRegistry();
    this.spread(this.node);
  }

  /** Replicates the databases that live on other nodes. */
  _follow() {
    for (const [name, entry] of this.node.registry) {
      const home = this.homeOf(name);
      const running = this._copies.get(name);
      if (running && (entry.deleted || home !== running.home)) this._stopCopy(name);
      if (!entry.deleted && home !== this.node.name && !this._copies.has(name)) this._copy(name, entry.database, home);
    }
  }

  _copy(name, database, home) {
    const path = `/${encodeURIComponent(name)}`;
    const fetchAs = (url, options) => {
      const { pathname, search } = new URL(url);
      const method = (options && options.method) || 'GET';
      const headers = new Headers(options && options.headers);
      for (const [header, value] of Object.entries(this._signed(method, pathname + search, ADMIN))) headers.set(header, value);
      return PouchDB.fetch(url, { ...options, headers });
    };
    const remote = new PouchDB(`http://${hostOf(home)}:${this._place.port}${path}`, { fetch: fetchAs, skip_setup: true });
    const copy = PouchDB.replicate(remote, database.pouch, { live: true, retry: true, checkpoint: 'target' });
    copy.on('error', () => {});
    copy.catch(() => {});
    copy.home = home;
    this._copies.set(name, copy);
    // Sends back what was written here while this node was its home.
    PouchDB.replicate(database.pouch, remote, { checkpoint: 'source' }).catch(() => {});
  }

  _stopCopy(name) {
    const copy = this._copies.get(name);
    if (copy) copy.cancel();
    this._copies.delete(name);
  }

  /* Requests between nodes */

  /** Forwards a request to another node with its user, and returns the answer. */
  forward(exchange, name, url = exchange.request.url) {
    const { request, response, method, user } = exchange;
    const headers = { ...request.headers, ...this._signed(method, url, user) };
    delete headers.authorization;
    delete headers.cookie;
    return new Promise((resolve, reject) => {
      const asked = http.request({ host: hostOf(name), port: this._place.port, method, path: url, headers }, (answer) => {
        response.writeHead(answer.statusCode, { ...answer.headers, ...exchange.answerHeaders });
        exchange.finished(answer.statusCode);
        answer.pipe(response);
        answer.on('close', resolve);
      });
      asked.on('error', () => reject(new HttpError(500, 'internal_server_error', 'No DB shards could be opened.')));
      response.on('close', () => asked.destroy());
      request.pipe(asked);
    });
  }

  /** The document of a user, from the home of its database. */
  async userDocument(database, name) {
    const id = `org.couchdb.user:${name}`;
    const home = this.homeOf(database.name);
    if (home !== this.node.name) {
      const path = `/${encodeURIComponent(database.name)}/${encodeURIComponent(id)}?conflicts=true`;
      const doc = await this._ask(home, 'GET', path, undefined, ADMIN).catch((error) => (error.status === 404 ? null : undefined));
      if (doc !== undefined) return doc;
    }
    return database.pouch.get(id, { conflicts: true }).catch(() => null);
  }

  _signed(method, path, user = null) {
    const known = { node: this.node.name, user: JSON.stringify(user) };
    const signature = this._signature(method, path, known);
    return { 'x-couch-node': known.node, 'x-couch-user': known.user, 'x-couch-signature': signature };
  }

  _signature(method, path, { node, user }) {
    return crypto.createHmac('sha256', this._cookie).update(JSON.stringify([method, path, node, user])).digest('hex');
  }

  async _ask(name, method, path, body, user) {
    const answer = await fetch(`http://${hostOf(name)}:${this._place.port}${path}`, {
      method,
      headers: { 'Content-Type': 'application/json', ...this._signed(method, path, user) },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (!answer.ok) {
      await answer.arrayBuffer();
      throw Object.assign(new Error(`${name} answered ${answer.status}`), { status: answer.status, refused: answer.status === 403 });
    }
    return answer.json();
  }

  async _let(request, response) {
    const { method, url, headers } = request;
    const known = { node: headers['x-couch-node'] || '', user: headers['x-couch-user'] || 'null' };
    const say = (status, body) => {
      response.writeHead(status, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    if (headers['x-couch-signature'] !== this._signature(method, url, known)) {
      if (this.node.log) this.node.log.write('error', `Connection attempt from node ${known.node} rejected. Invalid challenge reply.`);
      return say(403, { error: 'forbidden' });
    }
    if (url !== '/tell' && url !== '/bye') return this.node.serveNode(request, response, JSON.parse(known.user));
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const told = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    if (url === '/bye') {
      this._isDown(told.name);
      return say(200, {});
    }
    this._isUp(told.name);
    const member = this.node.members.get(told.name);
    // A removed node does not know that it was; its lists are outdated.
    const learned = !(member && member.deleted) && this._learn(this.node, told);
    say(200, this._knowledge(this.node, told.name));
    if (learned) this.spread(this.node);
    return undefined;
  }
}

const ADMIN = { name: null, roles: ['_admin'] };

const hostOf = (name) => name.slice(name.indexOf('@') + 1);

module.exports = { Distribution };
