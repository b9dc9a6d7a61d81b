// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The nodes of this process and what they know of one another.
 *
 * Each node keeps its own list of members (CouchDB's `_nodes`) and its own registry of databases (`_dbs`). What one
 * writes there it pushes to the members it lists, as CouchDB's internal replication does: so nodes start apart, a
 * node that joins brings what it has and gets what the others have, and one that was put out is told nothing any more.
 */

'use strict';

const crypto = require('node:crypto');
const { conflict, notFound } = require('./errors');

const SPREAD_AFTER = 250;
// `_membership` follows what is written in `_nodes` with some delay, as CouchDB's does.
const LISTED_AFTER = 40;

const generation = (entry) => (entry ? entry.generation : 0);

class Cluster {
  constructor(engine) {
    this.engine = engine;
    this.nodes = new Map();
    // Nodes that answer requests and that no other can connect with, as behind closed ports or with another cookie.
    this.apart = new Set();
  }

  add(node) {
    this.nodes.set(node.name, node);
  }

  exists(name) {
    return this.nodes.has(name);
  }

  /** A node by its name. */
  peer(name) {
    return this.nodes.get(name);
  }

  /** Called before a node answers anybody. */
  async open() {}

  /** Resolves once the others know what a node did. */
  async settle() {}

  /** The node that answers for a database: each of them, where they share it. */
  homeOf() {
    return null;
  }

  /** The member that runs the documents of a replicator database. */
  owner(node) {
    return node.memberNames().find((name) => node.sees(name));
  }

  /** What is to be written in the registry beside the entry itself. */
  registered(entry) {
    return entry;
  }

  userDocument(users, name) {
    return users.pouch.get(`org.couchdb.user:${name}`, { conflicts: true }).catch(() => null);
  }

  up(name) {
    const node = this.nodes.get(name);
    return Boolean(node && node.isUp);
  }

  /** The nodes `node` is connected with, itself first; one that is down is not among them. */
  connected(node) {
    return [node, ...[...node.peers].map((name) => this.nodes.get(name)).filter((peer) => peer && peer.isUp)];
  }

  /** The other members of a node that can be reached. */
  reachable(node) {
    if (this.apart.has(node.name)) return [];
    return node
      .memberNames()
      .filter((name) => name !== node.name && this.up(name) && !this.apart.has(name))
      .map((name) => this.nodes.get(name));
  }

  /** Connects nodes that list one another and can be reached; both know it then. */
  connect(node) {
    for (const peer of this.reachable(node)) {
      if (node.peers.has(peer.name)) continue;
      node.peers.add(peer.name);
      node.noteEvent(peer.name, 'nodeup');
      peer.peers.add(node.name);
      peer.noteEvent(node.name, 'nodeup');
    }
  }

  /* Members */

  join(node, name) {
    const known = node.members.get(name);
    if (known && !known.deleted) throw conflict();
    const entry = { ...memberEntry(generation(known) + 1, false), since: Date.now() };
    node.members.set(name, entry);
    this._spreadSoon(node);
    return entry;
  }

  leave(node, name, rev) {
    const known = node.members.get(name);
    if (!known || known.deleted) throw notFound('missing');
    if (rev !== known.rev) throw conflict();
    // What happened before, it still hears.
    this.spread(node);
    const entry = { ...memberEntry(known.generation + 1, true), since: Date.now() };
    node.members.set(name, entry);
    this._spreadSoon(node);
    return entry;
  }

  /** The members as `_membership` has them: what was written just now is not in it yet. */
  listedMembers(node) {
    const isListed = ({ deleted, since = 0 }) => (Date.now() - since < LISTED_AFTER ? deleted : !deleted);
    return [...node.members].filter(([, entry]) => isListed(entry)).map(([name]) => name).sort();
  }

  _spreadSoon(node) {
    node.saveRegistry();
    setTimeout(() => this.spread(node), SPREAD_AFTER).unref();
  }

  /** Pushes what a node knows to its members; those who learned something push on. */
  spread(node) {
    if (!node.isUp) return;
    this.connect(node);
    const pending = [node];
    while (pending.length) {
      const from = pending.shift();
      for (const to of this.reachable(from)) {
        if (this._push(from, to)) {
          this.connect(to);
          pending.push(to);
        }
      }
    }
    for (const each of this.nodes.values()) if (each.isUp) each.scheduler.rescan();
  }

  _push(from, to) {
    let learned = false;
    for (const [name, entry] of from.members) {
      if (newer(entry, to.members.get(name))) {
        to.members.set(name, entry);
        learned = true;
      }
    }
    for (const [name, entry] of from.registry) {
      if (newer(entry, to.registry.get(name))) {
        to.setRegistered(name, entry);
        learned = true;
      }
    }
    if (learned) to.saveRegistry();
    return learned;
  }

  /** A node came up: it connects, and hears from those that list it what happened meanwhile. */
  welcome(node) {
    for (const other of this.nodes.values()) if (other.isUp) this.spread(other);
    this.spread(node);
  }

  /** No other node can connect with this one any more, though it is up. */
  part(node) {
    this.apart.add(node.name);
    this.farewell(node);
  }

  mend(node) {
    this.apart.delete(node.name);
    if (node.isUp) this.welcome(node);
  }

  /** A node is not to be reached any more: what it did, others have to do now. */
  farewell(node) {
    for (const other of this.nodes.values()) {
      if (other.peers.delete(node.name)) other.noteEvent(node.name, 'nodedown');
      if (other.isUp && other !== node) other.scheduler.rescan();
    }
    node.peers.clear();
  }
}

/** Between two versions of one entry the later wins; between two of the same age, one that all choose alike. */
function newer(entry, known) {
  if (generation(entry) !== generation(known)) return generation(entry) > generation(known);
  return (entry.id || '') > (known.id || '');
}

function memberEntry(number, deleted) {
  const digest = crypto.createHash('md5').update(`member ${number} ${deleted}`).digest('hex');
  return { generation: number, rev: `${number}-${digest}`, deleted };
}

module.exports = { Cluster, memberEntry, newer };
