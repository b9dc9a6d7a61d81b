// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The replications of one node: those of documents in replicator databases, and those of POST /_replicate.
 *
 * The first member that is up runs the documents of a replicator database. When it goes down, the next one takes over.
 */

'use strict';

const { parseReplication, replicationId, BadReplication } = require('./endpoints');
const { Job, now } = require('./job');

// CouchDB starts a new document after a while; until then its state is null.
const TAKEN_UP_AFTER = 1000;
const TERMINAL = ['completed', 'failed'];

/** A document without the fields that the server writes. A job goes on while this stays the same. */
function wish(doc) {
  return JSON.stringify(Object.entries(doc).filter(([field]) => !/^_(rev|replication_.*)$/.test(field)).sort());
}

/** Why the replication of a document cannot start: the same one runs. A transient one may end. */
function sameRuns(id, docId, { database, docId: other }) {
  const begin = `Replication \`${id}\` specified by document \`${docId}\` already`;
  return database
    ? `${begin} started, triggered by document \`${other}\` from db \`${database.name}\``
    : `${begin} running as a transient replication, started via \`_replicate\` API endpoint`;
}

class Scheduler {
  constructor(node) {
    this.node = node;
    this._databases = new Map();
    this._transient = new Map();
    this._stopped = false;
  }

  stop() {
    this._stopped = true;
    for (const watched of this._databases.values()) this._drop(watched);
    this._databases.clear();
    for (const job of this._transient.values()) job.stop();
    this._transient.clear();
  }

  /** Starts the replicator databases that this node must run, and stops the others. */
  rescan() {
    if (this._stopped || !this.node.isUp) return;
    const mine = new Set();
    for (const name of this.node.databaseNames()) {
      const database = this.node.database(name);
      if (database.isReplicator && this.node.cluster.owner(this.node, database) === this.node.name) mine.add(database);
    }
    for (const [database, watched] of this._databases) {
      if (mine.has(database)) continue;
      this._drop(watched);
      this._databases.delete(database);
    }
    for (const database of mine) if (!this._databases.has(database)) this._watch(database);
  }

  _watch(database) {
    const watched = { database, records: new Map(), listener: null };
    this._databases.set(database, watched);
    watched.listener = ({ id, deleted, doc }) => this._changed(watched, id, deleted ? null : doc);
    database.follow(watched.listener);
    database.pouch
      .allDocs({ include_docs: true })
      .then(({ rows }) => {
        for (const { id, doc } of rows) if (!watched.records.has(id)) this._changed(watched, id, doc);
      })
      .catch(() => {});
  }

  _drop(watched) {
    watched.database.removeListener('change', watched.listener);
    for (const record of watched.records.values()) this._end(record);
    watched.dropped = true;
  }

  _end(record) {
    clearTimeout(record.timer);
    if (record.job) record.job.stop();
  }

  _changed(watched, id, doc) {
    if (watched.dropped || id.startsWith('_design/')) return;
    const known = watched.records.get(id);
    if (known && doc && !TERMINAL.includes(doc._replication_state) && wish(doc) === wish(known.doc)) {
      known.doc = doc;
      return;
    }
    if (known && doc && TERMINAL.includes(doc._replication_state) && known.ending) {
      known.doc = doc;
      return;
    }
    if (known) this._end(known);
    watched.records.delete(id);
    if (!doc) return;
    const record = { database: watched.database, id, doc };
    watched.records.set(id, record);
    if (TERMINAL.includes(doc._replication_state)) return;
    record.timer = setTimeout(() => this._begin(record), TAKEN_UP_AFTER);
    record.timer.unref();
  }

  async _begin(record) {
    const { database, doc } = record;
    try {
      const id = replicationId(doc, this.node);
      const same = this.jobs().find((job) => job.id === id);
      if (same && same.database) throw new BadReplication(sameRuns(id, record.id, same));
      const inTheWay = () => {
        const transient = this._transient.get(id);
        return transient ? sameRuns(id, record.id, transient) : null;
      };
      record.job = new Job({ node: this.node, doc, id, database, docId: record.id, inTheWay });
    } catch (error) {
      if (!(error instanceof BadReplication)) throw error;
      await this._write(record, { _replication_state: 'failed', _replication_state_reason: error.message });
      return;
    }
    this.node.statistics.count('couch_replicator/jobs/adds');
    this.node.statistics.count('couch_replicator/jobs/starts');
    const { job } = record;
    await job.run();
    if (record.job !== job || job.state !== 'completed' || this._stopped) return;
    const statistics = { ...job.finalStatistics(), start_time: job.startTime };
    await this._write(record, { _replication_state: 'completed', _replication_stats: statistics });
  }

  /** Writes the final state into the document, as CouchDB does with no other state. */
  async _write(record, fields) {
    record.ending = true;
    const { pouch } = record.database;
    const time = { _replication_state_time: now() };
    for (let attempt = 0; attempt < 5; attempt += 1) {
      try {
        const current = await pouch.get(record.id);
        if (wish(current) !== wish(record.doc)) return;
        await pouch.bulkDocs([{ ...current, ...fields, ...time }]);
        record.doc = { ...current, ...fields, ...time };
        return;
      } catch {
        // If it was deleted meanwhile, nothing is written; if it was changed, it is retried.
      }
    }
  }

  /* _replicate */

  /** Starts a continuous replication, or returns the one that runs. */
  startTransient(doc, id, user) {
    if (this._transient.has(id)) return;
    const job = new Job({ node: this.node, doc, id, user });
    this._transient.set(id, job);
    // A failed one is not retried and leaves nothing behind.
    job.runOnce().catch(() => {}).finally(() => this._transient.get(id) === job && this._transient.delete(id));
  }

  async runTransient(doc, id, user) {
    const job = new Job({ node: this.node, doc, id, user });
    this._transient.set(id, job);
    try {
      await job.runOnce();
    } finally {
      this._transient.delete(id);
    }
    return job;
  }

  cancelTransient(id) {
    const job = this._transient.get(id);
    if (!job) return false;
    job.stop();
    this._transient.delete(id);
    return true;
  }

  /* Output */

  jobs() {
    const running = [...this._databases.values()].flatMap(({ records }) => [...records.values()].map(({ job }) => job));
    return [...running, ...this._transient.values()].filter((job) => job && job.state !== 'completed');
  }

  summary() {
    const jobs = this.jobs();
    const of = (state) => jobs.filter((job) => job.state === state).length;
    return { total: jobs.length, running: of('running'), crashed: of('crashing'), pending: of('pending') };
  }

  docs() {
    return [...this._databases.values()].flatMap(({ records }) => [...records.values()].map((record) => this._describe(record)));
  }

  _describe({ database, id, doc, job }) {
    let ends = { source: { url: null }, target: { url: null } };
    try {
      ends = parseReplication(doc);
    } catch {
      // A document that was replicated into the database may be invalid; its state says so.
    }
    const common = { database: database.name, doc_id: id, source: ends.source.url, target: ends.target.url };
    const state = doc._replication_state;
    if (TERMINAL.includes(state)) {
      const { start_time: start = null, ...statistics } = doc._replication_stats || {};
      const info = state === 'failed' ? { error: doc._replication_state_reason } : statistics;
      const last = doc._replication_state_time;
      return { ...common, id: null, state, error_count: state === 'failed' ? 1 : 0, info, start_time: start || last, last_updated: last };
    }
    if (!job) {
      return { ...common, id: null, state: null, error_count: 0, info: null, start_time: null, last_updated: null };
    }
    if (job.state === 'error') {
      const { error, errorCount, startTime } = job;
      return {
        database: database.name, doc_id: id, id: null, state: 'error', info: { error }, error_count: errorCount,
        node: this.node.name, last_updated: startTime, start_time: startTime,
      };
    }
    return {
      ...common,
      id: job.id,
      node: this.node.name,
      // The job completes a moment before its document; the state of the document counts.
      state: job.state === 'completed' ? 'running' : job.state,
      info: job.info(),
      error_count: job.errorCount,
      last_updated: job.lastUpdated,
      start_time: job.startTime,
      source_proxy: null,
      target_proxy: null,
    };
  }
}

module.exports = { Scheduler };
