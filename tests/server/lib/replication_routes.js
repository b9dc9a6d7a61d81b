// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/* Replication over HTTP: `_replicate`, `_scheduler/docs`, `_scheduler/jobs`, `_active_tasks`. */

'use strict';

const crypto = require('node:crypto');
const { HttpError, badRequest, methodNotAllowed, notFound, unauthorized } = require('./errors');
const { requireServerAdmin } = require('./auth');
const { checkReplication, replicationId } = require('./endpoints');
const { ReplicationError } = require('./job');

/** The status for a failed replication; 500 for all others. */
const STATUS = { unauthorized: 401, not_found: 404 };

/** The schedulers of the nodes that this node is connected with. */
const schedulers = (node) => node.cluster.connected(node).map((peer) => peer.scheduler);

async function activeTasks(exchange) {
  if (exchange.verb !== 'GET') throw methodNotAllowed('GET,HEAD');
  requireServerAdmin(exchange);
  const running = schedulers(exchange.node).flatMap((scheduler) => scheduler.jobs()).filter((job) => job.running && job.atWork);
  exchange.send(200, running.map((job) => job.asTask()));
}

function page(exchange, rows) {
  const number = (name, fallback) => (/^\d+$/.test(exchange.query.get(name) || '') ? Number(exchange.query.get(name)) : fallback);
  const skip = number('skip', 0);
  return { offset: skip, rows: rows.slice(skip, skip + number('limit', 100)) };
}

async function scheduler(exchange) {
  if (exchange.verb !== 'GET') throw methodNotAllowed('GET,HEAD');
  requireServerAdmin(exchange);
  const [, kind, ...rest] = exchange.path;
  if (kind === 'jobs') return jobs(exchange, rest[0]);
  if (kind === 'docs') return docs(exchange, rest);
  throw notFound('missing');
}

function jobs(exchange, id) {
  const all = schedulers(exchange.node).flatMap((each) => each.jobs()).map((job) => job.asJob());
  if (id !== undefined) {
    const found = all.find((job) => job.id === id);
    if (!found) throw notFound('missing');
    return exchange.send(200, found);
  }
  const { offset, rows } = page(exchange, all);
  return exchange.send(200, { total_rows: all.length, offset, jobs: rows });
}

const order = (a, b) => (a.database === b.database ? a.doc_id > b.doc_id : a.database > b.database) || -1;

function docs(exchange, path) {
  // A replicator database may be `other/_replicator`, with the slash encoded or not.
  let wanted = path;
  if (wanted.length > 1 && !wanted[0].endsWith('_replicator')) wanted = [`${wanted[0]}/${wanted[1]}`, ...wanted.slice(2)];
  const [database, ...id] = wanted;
  if (database !== undefined && !exchange.node.database(database)) throw notFound('missing');
  let all = schedulers(exchange.node).flatMap((each) => each.docs()).sort(order);
  if (database !== undefined) all = all.filter((row) => row.database === database);
  if (id.length) {
    const found = all.find((row) => row.doc_id === id.join('/'));
    if (!found) throw notFound('missing');
    return exchange.send(200, found);
  }
  const states = exchange.query.get('states');
  if (states) all = all.filter((row) => states.split(',').includes(row.state === null ? 'null' : row.state));
  const { offset, rows } = page(exchange, all);
  return exchange.send(200, { total_rows: all.length, offset, docs: rows });
}

/** An endpoint with a URL: a bare name means a database of this server, with the credentials of the request. */
function addressed(exchange, end) {
  const given = typeof end === 'string' ? { url: end } : end;
  if (!given || typeof given.url !== 'string' || !given.url || /^https?:\/\//.test(given.url)) return end;
  const headers = {};
  for (const name of ['authorization', 'cookie']) if (exchange.header(name)) headers[name] = exchange.header(name);
  return { ...given, url: `http://${exchange.node.address}/${given.url}`, headers };
}

async function replicate(exchange) {
  const { headers } = exchange.request;
  if (!headers['content-length'] && !headers['transfer-encoding']) throw badRequest('Missing request body');
  const body = await exchange.jsonObject();
  // Permissions are checked before the body.
  if (exchange.user.name === null) throw unauthorized('You are not an authenticated user');
  if (exchange.verb !== 'POST') throw methodNotAllowed('POST');
  exchange.requireJson();
  for (const end of ['source', 'target']) if (body[end]) body[end] = addressed(exchange, body[end]);
  checkReplication(body, ({ message, isBadRequest }) =>
    isBadRequest ? badRequest(message) : new HttpError(500, 'error', message),
  );
  const { node } = exchange;
  const id = replicationId(body, node);
  if (body.cancel === true) {
    const found = schedulers(node).some((each) => each.cancelTransient(id));
    if (!found) throw notFound('missing');
    return exchange.send(200, { ok: true, _local_id: id });
  }
  if (body.continuous === true) {
    node.scheduler.startTransient(body, id, exchange.user.name);
    return exchange.send(202, { ok: true, _local_id: id });
  }
  const started = new Date();
  try {
    const job = await node.scheduler.runTransient(body, id, exchange.user.name);
    return exchange.send(200, session(job, started));
  } catch (error) {
    if (!(error instanceof ReplicationError)) throw error;
    throw new HttpError(STATUS[error.kind] || 500, error.kind, error.reason);
  }
}

/** The answer for a completed replication: its session. */
function session(job, started) {
  const { counts } = job;
  const last = job.sourceSequence || '0';
  const id = crypto.randomBytes(16).toString('hex');
  const nothing = counts.revisions_checked === 0 ? { no_changes: true } : {};
  return {
    ok: true,
    ...nothing,
    session_id: id,
    source_last_seq: last,
    replication_id_version: 4,
    history: [
      {
        session_id: id,
        start_time: started.toUTCString(),
        end_time: new Date().toUTCString(),
        start_last_seq: 0,
        end_last_seq: last,
        recorded_seq: last,
        missing_checked: counts.revisions_checked,
        missing_found: counts.missing_revisions_found,
        docs_read: counts.docs_read,
        docs_written: counts.docs_written,
        doc_write_failures: counts.doc_write_failures,
        bulk_get_docs: counts.bulk_get_docs,
        bulk_get_attempts: counts.bulk_get_attempts,
      },
    ],
  };
}

module.exports = { activeTasks, scheduler, replicate };
