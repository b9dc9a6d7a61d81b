// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * One database: its shards, security, limits and sequence, over one PouchDB.
 *
 * The nodes of a cluster share a Database; their registries (cluster.js) list its name. It holds what CouchDB stores beside
 * the documents: _security, _revs_limit, placement.
 */

'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { EventEmitter } = require('node:events');
const { Validation } = require('./validation');

const EMPTY_SHARD = 8348;

class Database extends EventEmitter {
  static create(engine, { name, q, placement, partitioned }) {
    engine.prepare();
    const created = Date.now();
    const digest = crypto.createHash('md5').update(`${name}\0${created}\0${crypto.randomUUID()}`).digest('hex');
    return new Database(engine, {
      id: `${name.replace(/[^a-z0-9_]/g, '-')}.${digest.slice(0, 12)}`,
      name,
      q,
      placement,
      partitioned,
      created: Math.floor(created / 1000),
      security: undefined,
      revsLimit: 1000,
      purgedInfosLimit: 1000,
      bytes: 0,
    });
  }

  static load(engine, id) {
    return new Database(engine, JSON.parse(fs.readFileSync(path.join(engine.directory, `${id}.json`), 'utf8')));
  }

  constructor(engine, properties) {
    super();
    Object.assign(this, properties);
    this.engine = engine;
    this.references = 0;
    this.untouched = false;
    // The ids of its `_local` documents, which PouchDB does not list.
    this.locals = new Set();
    this.validation = new Validation(this);
    this._counted = { seq: 0, deleted: new Set() };
  }

  get pouch() {
    this.untouched = false;
    return this.engine.open(this.id);
  }

  get isUsers() {
    return this.name === '_users' || this.name.endsWith('/_users');
  }

  get isReplicator() {
    return this.name === '_replicator' || this.name.endsWith('/_replicator');
  }

  /** Stores the properties of the database that are in no document. */
  save() {
    if (!this.engine.persistent) return;
    fs.writeFileSync(path.join(this.engine.directory, `${this.id}.json`), JSON.stringify(this.properties()));
  }

  properties() {
    const { id, name, q, placement, partitioned, created, security, revsLimit, purgedInfosLimit, bytes, map, copies } = this;
    return { id, name, q, placement, partitioned, created, security, revsLimit, purgedInfosLimit, bytes, map, copies };
  }

  /** Runs maintenance in the background, one action after the other. Failures are ignored. */
  tidy(action) {
    this._tidied = Promise.resolve(this._tidied).then(action).catch(() => {});
  }

  async destroy() {
    this.emit('destroyed');
    this.removeAllListeners();
    // PouchDB hangs if both destroy the same view.
    await this._tidied;
    await this.engine.destroy(this.id);
    if (this.engine.persistent) fs.rmSync(path.join(this.engine.directory, `${this.id}.json`), { force: true });
  }

  /** Calls a listener for each change from now on. All listeners share one feed. */
  follow(listener) {
    if (!this._feed) {
      this._feed = this.pouch.changes({ live: true, since: 'now', include_docs: true });
      this._feed.on('change', (change) => this.emit('change', change));
      this._feed.on('error', () => {});
      this.once('destroyed', () => this._feed.cancel());
    }
    this.on('change', listener);
  }

  /** The number of shards and of copies, and the quorums for reads and writes. */
  get quorum() {
    const n = Math.max(...Object.values(this.placement).map((nodes) => nodes.length));
    const majority = Math.floor(n / 2) + 1;
    return { q: this.q, n, w: majority, r: majority };
  }

  /** A sequence as CouchDB writes it: a number and an opaque string. */
  sequence(number) {
    return `${number}-g1AAAA${Buffer.from(`${this.id}:${this.q}`).toString('base64url')}`;
  }

  async info() {
    // A pretended database is not opened for this.
    const { doc_count: count, update_seq: seq } = this.untouched ? { doc_count: 0, update_seq: 0 } : await this.pouch.info();
    await this._countDeleted(seq);
    return {
      instance_start_time: String(this.created),
      db_name: this.name,
      purge_seq: this.sequence(0),
      update_seq: this.sequence(seq),
      sizes: { file: EMPTY_SHARD * this.q + 2 * this.bytes, external: this.bytes, active: count ? this.bytes : 0 },
      props: this.partitioned ? { partitioned: true } : {},
      doc_del_count: this._counted.deleted.size,
      doc_count: count,
      disk_format_version: 8,
      compact_running: false,
      cluster: this.quorum,
    };
  }

  /** Counts the deleted documents, which PouchDB does not, from the changes since the last count. */
  async _countDeleted(seq) {
    if (seq === this._counted.seq) return;
    const { results, last_seq: last } = await this.pouch.changes({ since: this._counted.seq });
    for (const { id, deleted } of results) {
      if (deleted) this._counted.deleted.add(id);
      else this._counted.deleted.delete(id);
    }
    this._counted.seq = last;
  }
}

/** The placement of q shards: range → n nodes, starting with another node for each range. */
function place(q, n, nodes) {
  const ordered = [...nodes].sort().reverse();
  const placement = {};
  for (let shard = 0; shard < q; shard += 1) {
    const from = Math.floor((shard * 0x100000000) / q);
    const to = Math.floor(((shard + 1) * 0x100000000) / q) - 1;
    const range = [from, to].map((edge) => edge.toString(16).padStart(8, '0')).join('-');
    const rotation = n < ordered.length ? shard : 0;
    placement[range] = Array.from({ length: Math.min(n, ordered.length) }, (_, i) => ordered[(i + rotation) % ordered.length]);
  }
  return placement;
}

/** The range of a document: by its id, or by its partition in a partitioned database. */
function rangeOf(database, id) {
  return Object.keys(database.placement).find((range) => inRange(database, range, id));
}

/** Whether a document belongs to a range. */
function inRange(database, range, id) {
  const key = database.partitioned && !id.startsWith('_') ? id.split(':')[0] : id;
  const number = crcOf(key);
  const [from, to] = range.split('-').map((edge) => parseInt(edge, 16));
  return number >= from && number <= to;
}

function crcOf(text) {
  let crc = 0xffffffff;
  for (const byte of Buffer.from(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

module.exports = { Database, place, rangeOf, inRange };
