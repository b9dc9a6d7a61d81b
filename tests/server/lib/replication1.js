// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * Replication of CouchDB 1.x: between local databases, by name, and remote ones, by URL; started by POST /_replicate or by
 * a document of _replicator.
 */

'use strict';

const crypto = require('node:crypto');
const { PouchDB } = require('./engine');
const { BadReplication, parseEndpoint } = require('./endpoints');
const { HttpError, badRequest, notFound } = require('./errors');
const { storedName } = require('./pouch1');
const DESIGN = require('pouchdb-replicator/lib/designdoc');

const CHOICES = ['doc_ids', 'filter', 'query_params'];

/** An endpoint: the name of a local database, or a URL with headers. */
function endOf(given, end) {
  const url = given && typeof given === 'object' ? given.url : given;
  if (typeof url !== 'string' || !url) throw badRequest(`missing ${end}`);
  if (!/^https?:\/\//.test(url)) return { name: url };
  try {
    return parseEndpoint(given);
  } catch (error) {
    throw error instanceof BadReplication ? badRequest(`${end} is no address`) : error;
  }
}

/** Parses a body or a document. */
function planOf(asked) {
  if (!asked || typeof asked !== 'object') throw badRequest('missing source');
  const ends = ['source', 'target'].map((end) => endOf(asked[end], end));
  const choice = {};
  for (const field of CHOICES) if (asked[field] !== undefined && asked[field] !== null) choice[field] = asked[field];
  const base = crypto.createHash('md5').update(JSON.stringify([...ends, choice])).digest('hex');
  const continuous = asked.continuous === true;
  const createTarget = asked.create_target === true;
  const id = `${base}${continuous ? '+continuous' : ''}${createTarget ? '+create_target' : ''}`;
  return { ends, choice, base, id, continuous, createTarget };
}

class Job {
  constructor(replications, plan) {
    Object.assign(this, { replications, plan, stopped: false });
  }

  async open() {
    const { ends, createTarget } = this.plan;
    this._source = await this.replications.open(ends[0], false);
    this._target = await this.replications.open(ends[1], createTarget);
  }

  /** Runs until it completes, or until it is stopped if it is continuous. */
  async run() {
    const { choice, continuous } = this.plan;
    if (this.stopped) return null;
    try {
      return await new Promise((resolve, reject) => {
        this._running = PouchDB.replicate(this._source, this._target, { ...choice, live: continuous, retry: continuous });
        this._running.on('complete', resolve).on('error', reject);
      });
    } catch (error) {
      throw new HttpError(error.status || 500, error.name || 'error', error.reason || error.message);
    } finally {
      for (const end of [this._source, this._target]) if (end.adapter === 'http') end.close();
    }
  }

  stop() {
    this.stopped = true;
    if (this._running) this._running.cancel();
  }
}

class Replications {
  /** `key` marks the requests of this server, which may go to itself. */
  constructor({ Database, key }) {
    Object.assign(this, { Database, key });
    this._transient = new Map();
    this._here = new Map();
    this.documents = new Documents(this);
  }

  async open(end, create) {
    return end.url ? this._openThere(end, create) : this._openHere(end.name, create);
  }

  async _openHere(name, create) {
    const stored = storedName(name);
    if (!create && !(await this.Database.allDbs()).includes(stored)) {
      throw new HttpError(404, 'db_not_found', `could not open ${name}`);
    }
    if (!this._here.has(stored)) {
      const database = new this.Database(stored);
      database.once('destroyed', () => this._here.get(stored) === database && this._here.delete(stored));
      this._here.set(stored, database);
      await database.info();
    }
    return this._here.get(stored);
  }

  async _openThere(end, create) {
    const refused = () => new HttpError(500, 'unauthorized', `unauthorized to access or create database ${end.url}`);
    const closed = (status) => status === 401 || status === 403;
    if (create && closed(await this._ask('PUT', end))) throw refused();
    const status = await this._ask('GET', end);
    if (closed(status)) throw refused();
    if (status !== 200) throw new HttpError(404, 'db_not_found', `could not open ${end.url}`);
    return new PouchDB(end.url.slice(0, -1), {
      adapter: 'http',
      skip_setup: true,
      fetch: (url, options) => {
        for (const [name, value] of Object.entries(this._headers(end))) options.headers.set(name, value);
        return PouchDB.fetch(url, options);
      },
    });
  }

  async _ask(method, end) {
    try {
      const answer = await PouchDB.fetch(end.url.slice(0, -1), { method, headers: this._headers(end) });
      await answer.text();
      return answer.status;
    } catch (error) {
      throw new HttpError(500, 'conn_failed', `${method} ${end.url}: ${error.code || error.message}`);
    }
  }

  _headers(end) {
    return { ...end.headers, 'X-Embedded-Replicator': this.key };
  }

  /** Replicates once, and returns the result in CouchDB's form. */
  async once(plan) {
    const started = new Date();
    const job = new Job(this, plan);
    await job.open();
    const done = await job.run();
    const session = crypto.randomBytes(16).toString('hex');
    return {
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
    };
  }

  /** Starts a continuous replication, unless it already runs. */
  async begin(plan) {
    if (this._transient.has(plan.id)) return;
    const job = new Job(this, plan);
    this._transient.set(plan.id, job);
    const forget = () => this._transient.get(plan.id) === job && this._transient.delete(plan.id);
    try {
      await job.open();
    } catch (error) {
      forget();
      throw error;
    }
    job.run().then(forget, forget);
  }

  cancel(id) {
    const job = this._transient.get(id);
    if (!job) throw notFound('could not find running replication');
    this._transient.delete(id);
    job.stop();
  }

  stop() {
    for (const id of [...this._transient.keys()]) this.cancel(id);
    this.documents.stop();
  }
}

/** A document of _replicator without the fields that the replicator adds. */
function written(doc) {
  const fields = Object.keys(doc).filter((field) => field !== '_rev' && !field.startsWith('_replication_'));
  return JSON.stringify(fields.sort().map((field) => [field, doc[field]]));
}

/** The replications of the documents in a replicator database, and their state in these documents. */
class Documents {
  constructor(replications) {
    this._replications = replications;
    this._entries = new Map();
  }

  /** Follows a replicator database from its first change, and starts what has not completed. */
  async start(name) {
    this.stop();
    const database = new this._replications.Database(name);
    this._database = database;
    await database.put({ ...DESIGN }).catch((error) => {
      if (error.status !== 409) throw error;
    });
    this._changes = database.changes({ since: 0, live: true, include_docs: true });
    this._changes.on('change', ({ doc }) => database === this._database && this._changed(doc));
    this._changes.on('error', (error) => process.stderr.write(`_replicator: ${error.message || error}\n`));
  }

  stop() {
    this._database = null;
    if (this._changes) this._changes.cancel();
    this._changes = null;
    for (const { job } of this._entries.values()) if (job) job.stop();
    this._entries.clear();
  }

  /** Stops the replication of a document, unless another document asks for the same. */
  _forget(id) {
    const entry = this._entries.get(id);
    this._entries.delete(id);
    if (!entry || !entry.job) return;
    entry.job.stop();
    const heir = [...this._entries.values()].find(({ shares }) => shares === entry.job.plan.id);
    if (heir) this._begin(heir.doc);
  }

  _begin(doc) {
    this._run(doc).catch((error) => process.stderr.write(`_replicator/${doc._id}: ${error.message || error}\n`));
  }

  _changed(doc) {
    const { _id: id, _replication_state: state } = doc;
    if (id.startsWith('_design/')) return;
    if (doc._deleted) {
      this._forget(id);
      return;
    }
    const entry = this._entries.get(id);
    // The replicator wrote the state; after a start it may be from before.
    if (state === 'completed' || (state !== undefined && entry)) return;
    if (entry && (entry.job || entry.shares) && entry.written === written(doc)) return;
    this._forget(id);
    this._begin(doc);
  }

  async _run(doc) {
    const { _id: id } = doc;
    const entry = { doc, written: written(doc), job: null, shares: null };
    this._entries.set(id, entry);
    try {
      const plan = planOf(doc);
      const same = [...this._entries.values()].some(({ job }) => job && job.plan.id === plan.id);
      // Another document runs the same replication.
      if (same) {
        entry.shares = plan.id;
        return await this._note(id, entry, { _replication_id: plan.base });
      }
      entry.job = new Job(this._replications, plan);
      // As CouchDB 1.7.1 does: a replication is triggered once both databases are open.
      await entry.job.open();
      await this._note(id, entry, { _replication_id: plan.base, ...stateOf('triggered') });
      const done = await entry.job.run();
      if (this._entries.get(id) !== entry) return undefined;
      entry.job = null;
      return await this._note(id, entry, { ...stateOf('completed'), _replication_stats: statisticsOf(done) });
    } catch (error) {
      entry.job = null;
      return this._note(id, entry, { ...stateOf('error'), _replication_state_reason: `${error.error}: ${error.message}` });
    }
  }

  /** Writes the state into a document, unless it was deleted or changed meanwhile. */
  async _note(id, entry, fields) {
    const database = this._database;
    while (this._entries.get(id) === entry) {
      try {
        const doc = await database.get(id);
        if (written(doc) !== entry.written) return;
        await database.put({ ...doc, ...fields });
        return;
      } catch (error) {
        if (error.status === 404) return;
        if (error.status !== 409) throw error;
      }
    }
  }
}

const stateOf = (state) => ({ _replication_state: state, _replication_state_time: new Date().toISOString().replace(/\.\d+Z$/, 'Z') });

const statisticsOf = (done) => ({
  revisions_checked: done.docs_read,
  missing_revisions_found: done.docs_read,
  docs_read: done.docs_read,
  docs_written: done.docs_written,
  doc_write_failures: done.doc_write_failures,
  checkpointed_source_seq: done.last_seq,
});

module.exports = { Replications, planOf };
