// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * One replication. It opens its endpoints over HTTP, PouchDB copies the documents, and the requests are counted as
 * CouchDB counts them.
 */

'use strict';

const { PouchDB } = require('./engine');
const { parseReplication } = require('./endpoints');

// Milliseconds between updates of a running job's progress.
const TELLS_EVERY = 500;
const FIRST_RETRY = 5000;
const LONGEST_RETRY = 60000;

let processes = 1000;

/** The time in the form of CouchDB's states, in whole seconds. */
const now = () => new Date().toISOString().replace(/\.\d+Z$/, 'Z');

/** `said` is the error in a state. `isEarly` marks errors that occur before there is a job. */
class ReplicationError extends Error {
  constructor(kind, reason, said = `${kind}: ${reason}`, isEarly = false) {
    super(said);
    this.kind = kind;
    this.reason = reason;
    this.isEarly = isEarly;
  }
}

class Job {
  /** `database` and `docId` are null for a transient replication. `inTheWay` returns why the job cannot start yet. */
  constructor({ node, doc, id, database = null, docId = null, user = null, inTheWay = () => null }) {
    Object.assign(this, { node, doc, id, database, docId, user, inTheWay });
    const { source, target } = parseReplication(doc);
    this.source = source;
    this.target = target;
    this.state = 'initializing';
    this.errorCount = 0;
    this.error = null;
    this.startTime = now();
    this.lastUpdated = this.startTime;
    this.startedOn = Math.floor(Date.now() / 1000);
    this.history = [{ timestamp: this.startTime, type: 'added' }];
    this.pid = `<0.${(processes += 1)}.0>`;
    this._stopped = false;
    this.atWork = false;
    this.counts = {
      revisions_checked: 0, missing_revisions_found: 0, docs_read: 0, docs_written: 0, changes_pending: null,
      doc_write_failures: 0, bulk_get_docs: 0, bulk_get_attempts: 0,
    };
    this.sourceSequence = null;
    this.checkpointed = '0';
    this._shown = null;
  }

  /** Runs until it completes, or until it is stopped if it is continuous. Retries failures with growing pauses. */
  async run() {
    while (!this._stopped) {
      try {
        this._note('started', 'running');
        await this._attempt();
        if (!this._stopped) this._note('stopped', 'completed');
        return;
      } catch (error) {
        if (this._stopped) return;
        this.errorCount += 1;
        this.error = error.message;
        this._note('crashed', error.isEarly ? 'error' : 'crashing', this.error);
        this.node.statistics.count('couch_replicator/jobs/crashes');
        await this._pause(Math.min(LONGEST_RETRY, FIRST_RETRY * 2 ** (this.errorCount - 1)));
      }
    }
  }

  /** Runs once, and throws instead of retrying. */
  async runOnce() {
    this._note('started', 'running');
    await this._attempt();
    this._note('stopped', 'completed');
  }

  stop() {
    this._stopped = true;
    if (this._replication) this._replication.cancel();
    if (this._wake) this._wake();
  }

  get running() {
    return this.state === 'running';
  }

  _note(type, state, reason) {
    const timestamp = now();
    this.history = [{ timestamp, type, ...(reason ? { reason } : {}) }, ...this.history].slice(0, 20);
    this.state = state;
    this.lastUpdated = timestamp;
  }

  _pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      timer.unref();
      this._wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async _attempt() {
    this.atWork = false;
    const reason = this.inTheWay();
    if (reason) throw new ReplicationError('error', reason, reason, true);
    await this._findFilter();
    await this._open(this.source);
    if (this.doc.create_target) await this._createTarget();
    await this._open(this.target);
    this.atWork = true;
    const { doc } = this;
    const options = { live: Boolean(doc.continuous), retry: false, batch_size: 500 };
    for (const field of ['filter', 'doc_ids', 'selector', 'query_params']) {
      if (doc[field] !== undefined) options[field] = doc[field];
    }
    if (doc.since_seq !== undefined) options.since = doc.since_seq;
    const source = this._remote(this.source);
    const target = this._remote(this.target);
    // Checkpoints are those of this replication, not of others between the same databases.
    source.id = async () => `${this.source.url}#${this.id.split('+')[0]}`;
    const telling = setInterval(() => {
      this._shown = this._progress();
    }, TELLS_EVERY);
    telling.unref();
    try {
      await this._replicate(source, target, options);
    } finally {
      clearInterval(telling);
      source.close();
      target.close();
    }
  }

  _replicate(source, target, options) {
    return new Promise((resolve, reject) => {
      this._replication = PouchDB.replicate(source, target, options);
      if (this._stopped) this._replication.cancel();
      const before = { ...this.counts };
      const take = (info) => {
        if (!info) return;
        this.counts.docs_read = before.docs_read + info.docs_read;
        this.counts.docs_written = before.docs_written + info.docs_written;
        this.counts.doc_write_failures = before.doc_write_failures + info.doc_write_failures;
        this.lastUpdated = now();
        if (info.last_seq) this.sourceSequence = info.last_seq;
      };
      this._replication
        .on('change', take)
        .on('complete', (info) => {
          take(info);
          this.checkpointed = this.sourceSequence || '0';
          this.node.statistics.count('couch_replicator/checkpoints/success');
          resolve();
        })
        .on('error', (error) => reject(new ReplicationError(error.name || 'error', error.reason || error.message)));
    });
  }

  _headers(end) {
    return {
      ...end.headers,
      'User-Agent': `CouchDB-Replicator/${this.node.version.version}`,
      'X-Embedded-Replicator': this.node.replicatorKey,
    };
  }

  async _open(end) {
    const status = await this._ask('GET', end.url, end);
    if (status === 404) throw new ReplicationError('db_not_found', `could not open ${end.url}`);
    if (status === 401 && end.username !== null) {
      const session = new URL('/_session', end.url).href;
      const reason = `{session_request_unauthorized,"${session}","${end.username}"}`;
      throw new ReplicationError('replication_auth_error', reason, `{replication_auth_error,\n    ${reason}}`);
    }
    if (status === 401 || status === 403) {
      throw new ReplicationError('unauthorized', `unauthorized to access or create database ${end.url}`);
    }
    if (status !== 200) throw new ReplicationError('db_not_found', `could not open ${end.url}`);
  }

  /** Reads the design document of a filter first. */
  async _findFilter() {
    const { filter } = this.doc;
    if (!filter || filter.startsWith('_')) return;
    const design = `_design/${filter.split('/')[0]}`;
    const status = await this._ask('GET', `${this.source.url}${design}`, this.source);
    if (status !== 404) return;
    const reason = `Couldn't open document \`${design}\` from source database \`${this.source.url}\`: {error,<<"not_found">>}`;
    throw new ReplicationError('not_found', reason, reason, true);
  }

  async _createTarget() {
    const parameters = new URLSearchParams(this.doc.create_target_params || {}).toString();
    const status = await this._ask('PUT', `${this.target.url.slice(0, -1)}${parameters ? `?${parameters}` : ''}`, this.target);
    if (status === 401 || status === 403) {
      throw new ReplicationError('unauthorized', `unauthorized to access or create database ${this.target.url}`);
    }
  }

  async _ask(method, url, end) {
    this.node.statistics.count('couch_replicator/requests');
    try {
      const answer = await PouchDB.fetch(url, { method, headers: this._headers(end) });
      await answer.text();
      return answer.status;
    } catch (error) {
      const cause = String(error.code || error.message).toLowerCase();
      const reason = `{http_request_failed,"${method}","${url}",\n                     {error,{error,{conn_failed,{error,${cause}}}}}}`;
      throw new ReplicationError('error', reason, reason);
    }
  }

  _remote(end) {
    return new PouchDB(end.url.slice(0, -1), {
      skip_setup: true,
      fetch: async (url, options) => {
        for (const [name, value] of Object.entries(this._headers(end))) options.headers.set(name, value);
        this.node.statistics.count('couch_replicator/requests');
        const answer = await PouchDB.fetch(url, options);
        const { pathname } = new URL(url);
        return /\/(_revs_diff|_bulk_docs)$/.test(pathname) ? this._counted(pathname, options.body, answer) : answer;
      },
    });
  }

  /** Counts the revisions in requests and answers and the documents written, and returns the answer. */
  async _counted(pathname, body, answer) {
    const text = await answer.text();
    if (answer.ok) {
      const asked = JSON.parse(body);
      const told = JSON.parse(text);
      if (pathname.endsWith('_revs_diff')) {
        this.counts.revisions_checked += Object.values(asked).flat().length;
        this.counts.missing_revisions_found += Object.values(told).flatMap(({ missing }) => missing).length;
      } else {
        // CouchDB fetches documents in bulk, but design documents one by one.
        const ordinary = asked.docs.filter(({ _id: id }) => !id.startsWith('_design/')).length;
        this.counts.bulk_get_attempts += ordinary;
        this.counts.bulk_get_docs += ordinary;
      }
    }
    const { ok, status, statusText, headers } = answer;
    return { ok, status, statusText, headers, text: async () => text, json: async () => JSON.parse(text) };
  }

  /* Output */

  /** The counts of a completed replication. */
  finalStatistics() {
    return { ...this.counts, checkpointed_source_seq: this.checkpointed };
  }

  info() {
    if (this.state === 'crashing' || this.state === 'error') return { error: this.error };
    return this.state === 'completed' ? this.finalStatistics() : this._shown;
  }

  _progress() {
    const sequence = this.sourceSequence || '0';
    return { ...this.counts, checkpointed_source_seq: this.checkpointed, source_seq: sequence, through_seq: sequence };
  }

  asJob() {
    return {
      database: this.database && this.database.name,
      id: this.id,
      pid: this.pid,
      source: this.source.url,
      target: this.target.url,
      user: this.user,
      doc_id: this.docId,
      info: this.info(),
      history: this.history,
      node: this.node.name,
      start_time: this.startTime,
    };
  }

  asTask() {
    const { database, node } = this;
    const sequence = this.sourceSequence || '0';
    return {
      node: node.name,
      pid: this.pid,
      process_status: 'waiting',
      ...this.counts,
      checkpoint_interval: 30000,
      checkpointed_source_seq: this.checkpointed,
      continuous: Boolean(this.doc.continuous),
      database: database && `shards/${Object.keys(database.placement)[0]}/${database.name}.${database.created}`,
      doc_id: this.docId,
      replication_id: this.id,
      source: this.source.url,
      source_seq: sequence,
      started_on: this.startedOn,
      target: this.target.url,
      through_seq: sequence,
      type: 'replication',
      updated_on: Math.floor(new Date(this.lastUpdated).getTime() / 1000),
      user: this.user,
    };
  }
}

module.exports = { Job, ReplicationError, now };
