// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/* Splitting shards: `_reshard`, its state and its jobs, one for each copy. */

'use strict';

const crypto = require('node:crypto');
const { badRequest, HttpError, methodNotAllowed, notFound } = require('./errors');
const { requireServerAdmin } = require('./auth');
const { mapOf, place, removeCopy, shardName } = require('./shards');

const STEP = 40;
const STATES = [
  'initial_copy', 'topoff1', 'build_indices', 'topoff2', 'copy_local_docs', 'update_shardmap', 'wait_source_close', 'topoff3',
  'source_delete',
];
const DISABLED = 'Shard splitting disabled';

const now = () => new Date().toISOString().replace(/\.\d+Z$/, 'Z');

/** The two halves of a range. */
function halves(range) {
  const [from, to] = range.split('-').map((edge) => parseInt(edge, 16));
  const middle = from + Math.floor((to - from) / 2);
  const hex = (edge) => edge.toString(16).padStart(8, '0');
  return [`${hex(from)}-${hex(middle)}`, `${hex(middle + 1)}-${hex(to)}`];
}

class Job {
  constructor(reshard, database, range, node) {
    this.reshard = reshard;
    this.database = database;
    this.range = range;
    this.node = node.name;
    this.shard = shardName(database, range);
    this.id = `001-${crypto.createHash('sha256').update(`${this.shard} ${node.name} ${database.id}`).digest('hex')}`;
    this.state = 'new';
    this.splitState = 'new';
    this.reason = null;
    this.started = null;
    this.history = [];
    this._note('new', null);
  }

  _note(type, detail) {
    this.updated = now();
    this.history.push({ timestamp: this.updated, type, detail });
  }

  shown() {
    return {
      id: this.id,
      type: 'split',
      source: this.shard,
      target: halves(this.range).map((range) => shardName(this.database, range)),
      job_state: this.state,
      split_state: this.splitState,
      state_info: this.reason === null ? {} : { reason: this.reason },
      node: this.node,
      start_time: this.started || '1970-01-01T00:00:00Z',
      update_time: this.updated,
      history: this.history,
    };
  }

  get isAtEnd() {
    return this.state === 'completed' || this.state === 'failed';
  }

  stop(reason) {
    if (this.isAtEnd) return;
    this.state = 'stopped';
    this.reason = reason;
    this._note('stopped', reason);
  }

  async run() {
    if (this.isAtEnd || this.state === 'running') return;
    this.state = 'running';
    this.reason = null;
    this.started = now();
    this.history = this.history.filter(({ type }) => type !== 'stopped');
    const first = Math.max(STATES.indexOf(this.splitState), 0);
    for (const state of STATES.slice(first)) {
      this.splitState = state;
      this._note('running', state);
      await new Promise((resolve) => setTimeout(resolve, STEP));
      if (this.state !== 'running') return;
      if (state === 'update_shardmap') await this.reshard.split(this);
    }
    this.state = 'completed';
    this.splitState = 'completed';
    this._note('completed', null);
  }
}

class Reshard {
  constructor() {
    this.state = 'running';
    this.reason = null;
    this.jobs = new Map();
  }

  summary() {
    const count = (state) => [...this.jobs.values()].filter((job) => job.state === state).length;
    const states = { completed: count('completed'), failed: count('failed'), running: count('running'), stopped: count('stopped') };
    return { state: this.state, state_reason: this.reason, ...states, total: this.jobs.size };
  }

  add(database, range, node) {
    const job = new Job(this, database, range, node);
    if (this.jobs.has(job.id)) return { error: 'job_already_exists', node: node.name, shard: job.shard };
    job.holder = node;
    this.jobs.set(job.id, job);
    this._begin(job);
    return { ok: true, id: job.id, node: node.name, shard: job.shard };
  }

  _begin(job) {
    if (this.state === 'running') job.run();
    else job.stop(DISABLED);
  }

  setState(state, reason) {
    this.state = state;
    this.reason = state === 'running' ? null : reason;
    for (const job of this.jobs.values()) {
      if (state === 'stopped') job.stop(DISABLED);
      else if (job.reason === DISABLED) job.run();
    }
  }

  /** Replaces a copy by those of the two halves of its range, in the map and on its node. */
  async split({ database, range, node, holder }) {
    const changelog = [...mapOf(database, holder.registry.get(database.name)).changelog];
    const targets = halves(range);
    const placement = { ...database.placement };
    placement[range] = (placement[range] || []).filter((name) => name !== node);
    if (!placement[range].length) delete placement[range];
    for (const target of targets) placement[target] = [...(placement[target] || []), node];
    const sorted = Object.fromEntries(Object.entries(placement).sort(([one], [other]) => (one < other ? -1 : 1)));
    changelog.push(['split', range, targets, node]);
    database.map = { ...database.map, changelog };
    place(database, sorted, { full: true });
    removeCopy(database, range, node);
    database.save();
    holder.register(database);
    await holder.cluster.settle();
  }
}

/* Requests */

async function body(exchange) {
  exchange.requireJson();
  return exchange.jsonObject();
}

function checkedState(state) {
  if (state !== 'running' && state !== 'stopped') throw badRequest('State field not `running` or `stopped`');
  return state;
}

/** The copies that a request for jobs selects, as [database, range, node name]. */
function selected({ node }, { type, db, shard, node: wanted, range }) {
  if (type !== 'split') throw badRequest('`job type must be `split`');
  if (db === undefined && shard === undefined) throw badRequest('Must specify at least `db` or `shard`');
  const ofShard = /^shards\/([0-9a-f]{8}-[0-9a-f]{8})\/(.*)\.\d+$/.exec(shard || '');
  const database = node.database(ofShard ? ofShard[2] : db);
  if (!database) throw badRequest('Invalid `db`');
  if (wanted !== undefined && !node.memberNames().includes(wanted)) throw badRequest('`node` is not a valid node name');
  const only = ofShard ? ofShard[1] : range;
  const found = Object.entries(database.placement)
    .filter(([each]) => only === undefined || each === only)
    .flatMap(([each, nodes]) => nodes.filter((name) => wanted === undefined || name === wanted).map((name) => [database, each, name]));
  if (!found.length) throw notFound('missing');
  return found;
}

async function createJobs(exchange, reshard) {
  const rows = selected(exchange, await body(exchange)).map(([database, range, name]) => {
    const holder = exchange.node.cluster.peer(name);
    return reshard.add(database, range, holder && !holder.isRemote ? holder : exchange.node);
  });
  return exchange.send(rows.some((row) => row.ok) ? 201 : 500, rows);
}

async function ofJob(exchange, reshard, job, [member]) {
  if (!job) throw notFound('missing');
  if (member === undefined) {
    if (exchange.verb === 'GET') return exchange.send(200, job.shown());
    if (exchange.verb !== 'DELETE') throw methodNotAllowed('GET,DELETE');
    job.stop('removed');
    reshard.jobs.delete(job.id);
    return exchange.send(200, { ok: true });
  }
  if (member !== 'state') throw notFound('missing');
  if (exchange.verb === 'GET') return exchange.send(200, { state: job.state, reason: job.reason });
  if (exchange.verb !== 'PUT') throw methodNotAllowed('GET,PUT');
  const { state, reason = null } = await body(exchange);
  if (checkedState(state) === 'stopped') job.stop(reason);
  else if (reshard.state === 'stopped') throw new HttpError(500, `{stopped,<<"${reshard.reason}">>}`, undefined);
  else job.run();
  return exchange.send(200, { ok: true });
}

async function route(exchange) {
  requireServerAdmin(exchange);
  const { reshard } = exchange.node.cluster;
  const [, first, id, ...more] = exchange.path;
  if (first === undefined) {
    if (exchange.verb !== 'GET') throw methodNotAllowed('GET');
    return exchange.send(200, reshard.summary());
  }
  if (first === 'state' && id === undefined) {
    if (exchange.verb === 'GET') return exchange.send(200, { state: reshard.state, reason: reshard.reason });
    if (exchange.verb !== 'PUT') throw methodNotAllowed('GET,PUT');
    const { state, reason = null } = await body(exchange);
    reshard.setState(checkedState(state), reason);
    return exchange.send(200, { ok: true });
  }
  if (first !== 'jobs') throw notFound('missing');
  if (id !== undefined) return ofJob(exchange, reshard, reshard.jobs.get(id), more);
  if (exchange.verb === 'POST') return createJobs(exchange, reshard);
  if (exchange.verb !== 'GET') throw methodNotAllowed('GET,POST');
  const jobs = [...reshard.jobs.values()].map((job) => job.shown());
  return exchange.send(200, { total_rows: jobs.length, offset: 0, jobs });
}

module.exports = { Reshard, route };
