// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The nodes of this process, and what they know of each other.
 *
 * Each node has its own list of members (CouchDB's `_nodes`) and its own registry of databases (`_dbs`). It pushes changes
 * of both to the members it lists, as CouchDB's internal replication does. So nodes start as single nodes, a node that
 * joins shares its databases and gets those of the others, and a removed node gets no more changes.
 */

'use strict';

const crypto = require('node:crypto');
const { conflict, notFound } = require('./errors');
const { Reshard } = require('./reshard');

const SPREAD_AFTER = 250;
// Milliseconds until `_membership` shows a change of `_nodes`.
const LISTED_AFTER = 40;

const generation = (entry) => (entry ? entry.generation : 0);

class Cluster {
  constructor(engine) {
    this.engine = engine;
    this.nodes = new Map();
    // Nodes that answer clients but connect with no other node, as with closed ports or another cookie.
    this.apart = new Set();
    this.reshard = new Reshard();
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

  /** Called before a node answers clients. */
  async open() {}

  /** Resolves once the other nodes have the changes of this one. */
  async settle() {}

  /** The node that a database lives on; null if all nodes share it. */
  homeOf() {
    return null;
  }

  /** The member that runs the documents of a replicator database. */
  owner(node) {
    return node.memberNames().find((name) => node.sees(name));
  }

  /** A registry entry with what this kind of cluster adds to it. */
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

  /** The nodes that `node` is connected with, itself first. */
  connected(node) {
    return [node, ...[...node.peers].map((name) => this.nodes.get(name)).filter((peer) => peer && peer.isUp)];
  }

  /** The other members that a node can reach. */
  reachable(node) {
    if (this.apart.has(node.name)) return [];
    return node
      .memberNames()
      .filter((name) => name !== node.name && this.up(name) && !this.apart.has(name))
      .map((name) => this.nodes.get(name));
  }

  /** Connects a node with the members that it can reach, in both directions. */
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

  /** Adds a member, or changes its document if `rev` is its revision. */
  join(node, name, { _rev: rev, _id, ...fields } = {}) {
    const known = node.members.get(name);
    const isMember = Boolean(known && !known.deleted);
    if (isMember && rev !== known.rev) throw conflict();
    const entry = { ...memberEntry(generation(known) + 1, false), fields, since: isMember ? known.since : Date.now() };
    node.members.set(name, entry);
    this._spreadSoon(node);
    return entry;
  }

  leave(node, name, rev) {
    const known = node.members.get(name);
    if (!known || known.deleted) throw notFound('missing');
    if (rev !== known.rev) throw conflict();
    // It still gets the changes from before.
    this.spread(node);
    const entry = { ...memberEntry(known.generation + 1, true), since: Date.now() };
    node.members.set(name, entry);
    this._spreadSoon(node);
    return entry;
  }

  /** The members that `_membership` lists, without changes of the last milliseconds. */
  listedMembers(node) {
    const isListed = ({ deleted, since = 0 }) => (Date.now() - since < LISTED_AFTER ? deleted : !deleted);
    return [...node.members].filter(([, entry]) => isListed(entry)).map(([name]) => name).sort();
  }

  _spreadSoon(node) {
    node.saveRegistry();
    setTimeout(() => this.spread(node), SPREAD_AFTER).unref();
  }

  /** Pushes the lists of a node to its members. Those that learned something push on. */
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

  /** Connects a node that came up, and gives it the changes that it missed. */
  welcome(node) {
    for (const other of this.nodes.values()) if (other.isUp) this.spread(other);
    this.spread(node);
  }

  /** Disconnects a node from the others. It stays up. */
  part(node) {
    this.apart.add(node.name);
    this.farewell(node);
  }

  mend(node) {
    this.apart.delete(node.name);
    if (node.isUp) this.welcome(node);
  }

  /** Removes a node from the connections. Other nodes take over its work. */
  farewell(node) {
    for (const other of this.nodes.values()) {
      if (other.peers.delete(node.name)) other.noteEvent(node.name, 'nodedown');
      if (other.isUp && other !== node) other.scheduler.rescan();
    }
    node.peers.clear();
  }
}

/** Whether an entry is newer than another. Of two with the same generation, all nodes choose the same. */
function newer(entry, known) {
  if (generation(entry) !== generation(known)) return generation(entry) > generation(known);
  return (entry.id || '') > (known.id || '');
}

function memberEntry(number, deleted) {
  const digest = crypto.createHash('md5').update(`member ${number} ${deleted}`).digest('hex');
  return { generation: number, rev: `${number}-${digest}`, deleted };
}

module.exports = { Cluster, memberEntry, newer };
