// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * Documents over HTTP: reading, writing, attachments, bulk requests, views, and which module serves the rest
 * (changes.js, indexes.js, and functions.js for show, list, update and rewrite functions).
 */

'use strict';

const crypto = require('node:crypto');
const { HttpError, badRequest, conflict, forbidden, fromPouch, methodNotAllowed, notFound } = require('./errors');
const { isDatabaseAdmin, requireDatabaseAdmin, requireServerAdmin } = require('./auth');
const { admit } = require('./validation');
const { withoutSecrets } = require('./endpoints');
const { encode, etagOf } = require('./exchange');
const { rangeOf } = require('./database');
const { localDocuments } = require('./shards');

/* Output: order of fields, and what is hidden from other users */

function tidy({ _id, _rev, ...rest }) {
  if (rest._conflicts) rest._conflicts = [...rest._conflicts].sort(byRevision).reverse();
  return { _id, _rev, ...rest };
}

/** User documents are for their owner; credentials of a replication are for its owner; admins see all. */
function visible(exchange, database, doc) {
  if (isDatabaseAdmin(exchange, database) || doc._id.startsWith('_design/')) return doc;
  if (database.isUsers && doc.name !== exchange.user.name) throw notFound();
  if (database.isReplicator && (doc.owner === undefined || doc.owner !== exchange.user.name)) {
    return { ...doc, source: withoutSecrets(doc.source), target: withoutSecrets(doc.target) };
  }
  return doc;
}

function requireOpen(exchange, database) {
  if (database.isUsers && !isDatabaseAdmin(exchange, database)) {
    throw forbidden('Only admins can access _all_docs of system databases.');
  }
}

/* Writing */

/** Whether an error means that a document is malformed. An invalid design document fails alone. */
const isMalformed = ({ status, error }) => status === 400 && error !== 'compilation_error' && error !== 'invalid_design_doc';

/**
 * Writes documents and returns a row for each: { ok, id, rev } or { id, failure }. With `trusted`, permissions are not
 * checked. With `whole`, a malformed document fails the request, and nothing is written.
 */
async function write(exchange, database, docs, { newEdits = true, trusted = false, whole = false } = {}) {
  const rows = new Array(docs.length);
  const admitted = [];
  await Promise.all(
    docs.map(async (doc, index) => {
      try {
        if (!trusted && /^_design\//.test(doc && doc._id)) requireDatabaseAdmin(exchange, database);
        admitted[index] = await admit(exchange, database, doc, { interactive: newEdits });
      } catch (error) {
        if (!(error instanceof HttpError)) throw error;
        rows[index] = { id: doc && doc._id, failure: error };
      }
    }),
  );
  const malformed = whole && rows.find((row) => row && isMalformed(row.failure));
  if (malformed) throw malformed.failure;
  const indexes = docs.map((_, index) => index).filter((index) => !rows[index]);
  if (indexes.length) {
    let answers;
    try {
      answers = await database.pouch.bulkDocs(indexes.map((index) => admitted[index]), { new_edits: newEdits });
    } catch (error) {
      throw fromPouch(error);
    }
    if (newEdits) {
      answers.forEach((answer, i) => {
        const failure = answer.error ? fromPouch(answer) : null;
        rows[indexes[i]] = failure ? { id: answer.id || docs[indexes[i]]._id, failure } : answer;
      });
    }
    noteWritten(exchange, database, indexes.map((index) => admitted[index]));
  }
  return rows.filter(Boolean);
}

function noteWritten(exchange, database, docs) {
  let designs = false;
  for (const doc of docs) {
    if (typeof doc._id === 'string' && doc._id.startsWith('_local/')) database.locals[doc._deleted ? 'delete' : 'add'](doc._id);
    database.bytes += Buffer.byteLength(JSON.stringify(doc));
    if (typeof doc._id === 'string' && doc._id.startsWith('_design/')) designs = true;
  }
  if (designs) database.validation.forget();
  exchange.node.statistics.count('couchdb/document_writes', docs.length);
  exchange.node.statistics.count('couchdb/database_writes', docs.length);
}

async function writeOne(exchange, database, doc) {
  const [row] = await write(exchange, database, [doc]);
  if (row.failure) throw row.failure;
  return row;
}

function sendWritten(exchange, database, row, doc) {
  const location = exchange.location(`/${encode(database.name)}/${encode(row.id)}`);
  const tag = row.id.startsWith('_local/') ? etagOf(JSON.stringify({ ...doc, _id: row.id, _rev: row.rev })) : row.rev;
  const status = exchange.query.get('batch') === 'ok' ? 202 : 201;
  exchange.send(status, { ok: true, id: row.id, rev: row.rev }, { Location: location, ETag: `"${tag}"` });
}

/** The revision in a request: in the body, the query, or If-Match. They must agree. */
function revisionOf(exchange, body) {
  const query = exchange.query.get('rev') || undefined;
  const header = (exchange.header('if-match') || '').replace(/"/g, '') || undefined;
  const named = [...new Set([body, query, header].filter((rev) => rev !== undefined))];
  if (named.length > 1) throw badRequest('Document rev from request body and query string have different values');
  if (named.length && !/^\d+-./.test(named[0])) throw badRequest('Invalid rev format');
  return named[0];
}

async function post(exchange, database) {
  exchange.requireJson();
  const doc = await exchange.jsonObject('Document must be a JSON object');
  if (doc._id === undefined) doc._id = exchange.node.uuid32();
  sendWritten(exchange, database, await writeOne(exchange, database, doc), doc);
}

async function put(exchange, database, id) {
  const newEdits = exchange.query.get('new_edits') !== 'false';
  const doc = await exchange.jsonObject('Document must be a JSON object');
  if (doc._id !== undefined && doc._id !== id && doc._id !== '') throw badRequest('Document ID must match URL');
  doc._id = id;
  const rev = revisionOf(exchange, doc._rev);
  if (rev !== undefined) doc._rev = rev;
  else delete doc._rev;
  if (newEdits) return sendWritten(exchange, database, await writeOne(exchange, database, doc), doc);
  const rows = await write(exchange, database, [doc], { newEdits });
  if (rows.length) throw rows[0].failure;
  return sendWritten(exchange, database, { id, rev: doc._rev }, doc);
}

async function remove(exchange, database, id) {
  const rev = revisionOf(exchange);
  try {
    if (rev === undefined) await database.pouch.get(id);
  } catch (error) {
    throw fromPouch(error);
  }
  if (rev === undefined && !id.startsWith('_local/')) throw conflict();
  const doc = { _id: id, _deleted: true };
  if (id.startsWith('_local/')) doc._rev = (await database.pouch.get(id))._rev;
  else doc._rev = rev;
  const row = await writeOne(exchange, database, doc);
  exchange.send(200, { ok: true, id, rev: row.rev }, { ETag: `"${row.rev}"` });
}

async function copy(exchange, database, id) {
  const destination = exchange.header('destination');
  if (!destination) throw badRequest('Destination header is mandatory for COPY.');
  if (/^https?:/.test(destination)) throw badRequest('Destination URL must be relative.');
  const [target, rev] = destination.split('?rev=');
  const doc = await read(database, id, { rev: exchange.query.get('rev') || undefined, attachments: true });
  delete doc._rev;
  doc._id = decodeURIComponent(target);
  if (rev) doc._rev = rev;
  sendWritten(exchange, database, await writeOne(exchange, database, doc), doc);
}

/* Reading */

const FLAGS = ['revs', 'revs_info', 'conflicts', 'attachments', 'latest'];

async function read(database, id, options = {}) {
  try {
    return await database.pouch.get(id, options);
  } catch (error) {
    throw fromPouch(error);
  }
}

async function get(exchange, database, id) {
  const options = {};
  for (const flag of FLAGS) if (exchange.query.get(flag) === 'true') options[flag] = true;
  const meta = exchange.query.get('meta') === 'true';
  if (meta) Object.assign(options, { revs_info: true, conflicts: true });
  if (exchange.query.has('rev')) options.rev = exchange.query.get('rev');
  const open = exchange.jsonQueryOrText('open_revs');
  if (open !== undefined) {
    const found = await read(database, id, { ...options, open_revs: open });
    if (open === 'all') found.sort((one, other) => byRevision(one.ok._rev, other.ok._rev));
    return exchange.send(200, found.map((row) => (row.ok ? { ok: tidy(visible(exchange, database, row.ok)) } : row)));
  }
  exchange.node.statistics.count('couchdb/database_reads');
  const doc = tidy(visible(exchange, database, await read(database, id, options)));
  if (meta || exchange.query.get('deleted_conflicts') === 'true') {
    const deleted = await deletedLeaves(database, doc);
    if (deleted.length) doc._deleted_conflicts = deleted;
  }
  const tag = id.startsWith('_local/') ? `"${etagOf(JSON.stringify(doc))}"` : `"${doc._rev}"`;
  if (exchange.header('if-none-match') === tag) return exchange.sendText(304, '', { ETag: tag });
  return exchange.send(200, doc, { ETag: tag });
}

/** Orders revisions as CouchDB does: by their number, then by their digest. */
function byRevision(one, other) {
  return parseInt(one, 10) - parseInt(other, 10) || (one < other ? -1 : Number(one > other));
}

/** The deleted leaf revisions of a document beside its winning one, the highest first. */
async function deletedLeaves(database, { _id: id, _rev: rev }) {
  if (id.startsWith('_local/')) return [];
  const leaves = await read(database, id, { open_revs: 'all' });
  const deleted = leaves.filter(({ ok }) => ok && ok._deleted && ok._rev !== rev).map(({ ok }) => ok._rev);
  return deleted.sort(byRevision).reverse();
}

async function attachment(exchange, database, id, name) {
  const rev = revisionOf(exchange);
  if (exchange.verb === 'GET') {
    const doc = visible(exchange, database, await read(database, id, rev ? { rev } : {}));
    const stub = (doc._attachments || {})[name];
    if (!stub) throw notFound('Document is missing attachment');
    const data = await database.pouch.getAttachment(id, name, { rev: doc._rev });
    const digest = stub.digest.replace(/^md5-/, '');
    return exchange.sendText(200, data, { 'Content-Type': stub.content_type, ETag: `"${digest}"`, 'Content-MD5': digest });
  }
  if (!/^(PUT|DELETE)$/.test(exchange.verb)) throw methodNotAllowed('DELETE,GET,HEAD,PUT');
  const existing = await database.pouch.get(id, rev ? { rev } : {}).catch(() => null);
  if (existing && existing._rev !== rev) throw conflict();
  if (!existing && rev) throw conflict();
  const doc = existing || { _id: id };
  doc._attachments = { ...(doc._attachments || {}) };
  if (exchange.verb === 'PUT') {
    doc._attachments[name] = {
      content_type: exchange.header('content-type') || 'application/octet-stream',
      data: (await exchange.body()).toString('base64'),
    };
  } else {
    if (!existing) throw notFound();
    delete doc._attachments[name];
  }
  const row = await writeOne(exchange, database, doc);
  if (exchange.verb === 'DELETE') return exchange.send(200, { ok: true, id, rev: row.rev });
  const location = exchange.location(`/${encode(database.name)}/${encode(id)}/${encode(name)}`);
  return exchange.send(201, { ok: true, id, rev: row.rev }, { Location: location, ETag: `"${row.rev}"` });
}

/* Bulk requests */

const bulk = {
  async _bulk_docs(exchange, database) {
    exchange.requireJson();
    exchange.node.statistics.count('couchdb/httpd/bulk_requests');
    const body = await exchange.jsonObject();
    if (body.docs === undefined) throw badRequest('POST body must include `docs` parameter.');
    if (!Array.isArray(body.docs)) throw badRequest('`docs` parameter must be an array.');
    exchange.node.statistics.sample('couchdb/httpd/bulk_docs', body.docs.length);
    const newEdits = body.new_edits !== false;
    for (const doc of body.docs) {
      if (doc && typeof doc === 'object' && doc._id === undefined && newEdits) doc._id = exchange.node.uuid32();
    }
    const rows = await write(exchange, database, body.docs, { newEdits, whole: true });
    exchange.send(
      201,
      rows.map(({ failure, ...row }) => (failure ? { id: row.id, error: failure.error, reason: failure.reason } : row)),
    );
  },

  async _bulk_get(exchange, database) {
    exchange.requireJson();
    const body = await exchange.jsonObject();
    if (!Array.isArray(body.docs)) throw badRequest('Missing JSON list of `docs`.');
    const options = { revs: exchange.query.get('revs') === 'true', attachments: exchange.query.get('attachments') === 'true' };
    const results = await Promise.all(
      body.docs.map(async ({ id, rev }) => {
        try {
          const doc = await database.pouch.get(id, { ...options, ...(rev ? { rev } : {}) });
          return { id, docs: [{ ok: tidy(visible(exchange, database, doc)) }] };
        } catch (error) {
          const failure = fromPouch(error);
          return { id, docs: [{ error: { id, rev: rev || 'undefined', error: failure.error, reason: failure.reason } }] };
        }
      }),
    );
    exchange.send(200, { results });
  },

  async _revs_diff(exchange, database) {
    exchange.requireJson();
    exchange.send(200, await database.pouch.revsDiff(await exchange.jsonObject()));
  },

  async _missing_revs(exchange, database) {
    exchange.requireJson();
    const missing = await database.pouch.revsDiff(await exchange.jsonObject());
    exchange.send(200, { missing_revs: Object.fromEntries(Object.entries(missing).map(([id, row]) => [id, row.missing])) });
  },
};

/* Lists of documents, and views */

const JSON_OPTIONS = { key: 'key', keys: 'keys', startkey: 'startkey', start_key: 'startkey', endkey: 'endkey', end_key: 'endkey' };
const FLAG_OPTIONS = ['descending', 'include_docs', 'conflicts', 'attachments', 'inclusive_end', 'update_seq', 'reduce', 'group'];
const NUMBER_OPTIONS = ['limit', 'skip', 'group_level'];

const unparsable = (reason) => new HttpError(400, 'query_parse_error', reason);

async function listOptions(exchange, given) {
  const options = {};
  for (const [name, option] of Object.entries(JSON_OPTIONS)) {
    const value = exchange.jsonQuery(name);
    if (value !== undefined) options[option] = value;
  }
  const raw = (name) => (exchange.query.has(name) ? exchange.query.get(name) : undefined);
  for (const name of FLAG_OPTIONS) {
    if (raw(name) === undefined) continue;
    if (!/^(true|false)$/.test(raw(name))) throw unparsable(`Invalid boolean parameter: ${raw(name)}`);
    options[name] = raw(name) === 'true';
  }
  for (const name of NUMBER_OPTIONS) {
    if (raw(name) === undefined) continue;
    if (!/^\d+$/.test(raw(name))) throw unparsable(`Invalid value for integer: "${raw(name)}"`);
    options[name] = Number(raw(name));
  }
  for (const [name, value] of Object.entries(given || {})) options[JSON_OPTIONS[name] || name] = value;
  if (options.keys !== undefined && !Array.isArray(options.keys)) throw badRequest('`keys` member must be an array.');
  return options;
}

async function bodyOptions(exchange) {
  if (exchange.verb !== 'POST') return {};
  exchange.requireJson();
  return exchange.jsonObject();
}

async function allDocs(exchange, database, given, extra = {}) {
  requireOpen(exchange, database);
  const options = { ...(await listOptions(exchange, given)), ...extra };
  const { keys } = options;
  const { rows, ...found } = await database.pouch.allDocs(options);
  if (keys) await addLocal(database, rows, options);
  const answer = { total_rows: found.total_rows, offset: keys ? null : found.offset };
  if (options.update_seq) answer.update_seq = database.sequence(found.update_seq);
  answer.rows = rows.map((row) => (row.doc ? { ...row, doc: tidy(visible(exchange, database, row.doc)) } : row));
  return answer;
}

/** Adds `_local` documents that are requested by key, which PouchDB leaves out. */
async function addLocal(database, rows, options) {
  await Promise.all(
    rows.map(async ({ key }, index) => {
      if (typeof key !== 'string' || !key.startsWith('_local/')) return;
      const doc = await database.pouch.get(key).catch(() => null);
      if (doc) rows[index] = { id: key, key, value: { rev: doc._rev }, ...(options.include_docs ? { doc } : {}) };
    }),
  );
}

async function designDocs(exchange, database, given) {
  const designs = await allDocs(exchange, database, given, { startkey: '_design/', endkey: '_design0' });
  return { ...designs, total_rows: designs.rows.length };
}

async function queries(exchange, one) {
  exchange.requireJson();
  const body = await exchange.jsonObject();
  if (!Array.isArray(body.queries)) throw badRequest('POST body must include `queries` parameter.');
  const results = [];
  for (const query of body.queries) results.push(await one(query));
  exchange.send(200, { results });
}

async function view(exchange, database, design, name, given) {
  const doc = await read(database, `_design/${design}`);
  const found = (doc.views || {})[name];
  if (!found || name === 'lib') throw notFound('missing_named_view');
  const options = await listOptions(exchange, given);
  exchange.node.statistics.count('couchdb/httpd/view_reads');
  const reduces = found.reduce !== undefined && options.reduce !== false;
  if (!reduces && (options.group || options.group_level)) {
    throw unparsable('Invalid use of grouping on a map view.');
  }
  options.reduce = reduces;
  try {
    const { rows, total_rows: total, offset } = await database.pouch.query(`${design}/${name}`, options);
    const shown = rows.map((row) => {
      if (!row.doc) return row;
      return { ...row, doc: tidy(visible(exchange, database, row.doc)) };
    });
    if (reduces) return { rows: shown };
    return { total_rows: total, offset: options.keys ? null : offset, rows: shown };
  } catch (error) {
    throw fromPouch(error);
  }
}

async function viewInfo(exchange, database, design) {
  const doc = await read(database, `_design/${design}`);
  const { update_seq: seq, doc_count: count } = await database.pouch.info();
  const signature = crypto.createHash('md5').update(JSON.stringify([doc.views || {}, doc.options || {}])).digest('hex');
  exchange.send(200, {
    name: design,
    view_index: {
      updates_pending: { minimum: 0, preferred: 0, total: 0 },
      waiting_commit: false,
      waiting_clients: 0,
      updater_running: false,
      update_seq: seq,
      sizes: { file: 199 + 80 * count, external: 15 * count, active: 97 + 40 * count },
      signature,
      purge_seq: 0,
      language: doc.language || 'javascript',
      compact_running: false,
      collator_versions: ['153.120'],
    },
  });
}

async function partition(exchange, database) {
  if (!database.partitioned) throw badRequest('database is not partitioned');
  const [, , name, member] = exchange.path;
  const range = { startkey: `${name}:`, endkey: `${name};` };
  if (member === undefined) {
    const { rows } = await database.pouch.allDocs(range);
    const sizes = { active: rows.length * 40, external: rows.length * 40 };
    return exchange.send(200, {
      db_name: database.name, sizes, partition: name, doc_count: rows.length, doc_del_count: 0, range: rangeOf(database, `${name}:`),
    });
  }
  if (member !== '_all_docs') throw new HttpError(501, 'not_implemented', 'The embedded server has no such partition query.');
  return exchange.send(200, await allDocs(exchange, database, await bodyOptions(exchange), range));
}

/* Routing */

async function route(exchange, database) {
  const [, first, ...rest] = exchange.path;
  const { verb } = exchange;
  if (bulk[first] && !rest.length) {
    if (verb !== 'POST') throw methodNotAllowed('POST');
    return bulk[first](exchange, database);
  }
  switch (first) {
    case '_all_docs':
      if (rest[0] === 'queries') return queries(exchange, (query) => allDocs(exchange, database, query));
      return exchange.send(200, await allDocs(exchange, database, await bodyOptions(exchange)));
    case '_design_docs':
      return exchange.send(200, await designDocs(exchange, database, await bodyOptions(exchange)));
    case '_changes':
      return require('./changes').serve(exchange, database);
    case '_index':
    case '_find':
    case '_explain':
      return require('./indexes').route(exchange, database);
    case '_partition':
      return partition(exchange, database);
    case '_temp_view':
      throw new HttpError(410, 'gone', 'Temporary views are not supported in CouchDB');
    case '_purge':
      requireServerAdmin(exchange);
      throw new HttpError(501, 'not_implemented', `The embedded server has no ${first}.`);
    case '_local_docs':
      return localDocuments(exchange, database);
    default:
  }
  // The slash in `_design/app` and `_local/x` may be encoded.
  let id = first;
  let below = rest;
  if ((first === '_design' || first === '_local') && rest.length) {
    id = `${first}/${rest[0]}`;
    below = rest.slice(1);
  }
  if (id.startsWith('_design/') && below.length && below[0].startsWith('_')) {
    return designFunction(exchange, database, id.slice('_design/'.length), below);
  }
  if (below.length) return attachment(exchange, database, id, below.join('/'));
  switch (verb) {
    case 'GET': return get(exchange, database, id);
    case 'PUT': return put(exchange, database, id);
    case 'DELETE': return remove(exchange, database, id);
    case 'COPY': return copy(exchange, database, id);
    default: throw methodNotAllowed('DELETE,GET,HEAD,POST,PUT,COPY');
  }
}

async function designFunction(exchange, database, design, [kind, name, ...rest]) {
  if (kind === '_view' && name !== undefined) {
    if (rest[0] === 'queries') return queries(exchange, (query) => view(exchange, database, design, name, query));
    return exchange.send(200, await view(exchange, database, design, name, await bodyOptions(exchange)));
  }
  if (kind === '_info' && name === undefined) return viewInfo(exchange, database, design);
  if (/^_(show|list|update|rewrite)$/.test(kind)) return require('./functions').serve(exchange, database);
  throw notFound('missing');
}

module.exports = { route, post, write };
