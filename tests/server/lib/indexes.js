// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/* Mango: indexes and queries as CouchDB has them, over pouchdb-find. */

'use strict';

const crypto = require('node:crypto');
const { HttpError, crash, fromPouch, methodNotAllowed, notFound } = require('./errors');
const { erlang, normalise } = require('./selectors');
const { isDatabaseAdmin, refused, requireDatabaseAdmin } = require('./auth');

const SPECIAL = { ddoc: null, name: '_all_docs', type: 'special', def: { fields: [{ _id: 'asc' }] } };

async function designs(database) {
  const { rows } = await database.pouch.allDocs({ startkey: '_design/', endkey: '_design0', include_docs: true });
  return rows.map(({ doc }) => doc).filter((doc) => doc.language === 'query');
}

function describe(database, doc, name) {
  const view = doc.views[name];
  const fields = Object.entries(view.map.fields).map(([field, direction]) => ({ [field]: direction }));
  const filter = view.map.partial_filter_selector;
  const stated = doc.options && doc.options.partitioned;
  return {
    ddoc: doc._id,
    name,
    type: 'json',
    partitioned: stated === undefined ? database.partitioned : stated,
    def: { fields, ...(filter && Object.keys(filter).length ? { partial_filter_selector: filter } : {}) },
  };
}

/** The views of a design document that are indexes. */
function indexNames(doc) {
  const isIndex = ({ map, options }) => map && map.fields && options && options.def;
  return Object.keys(doc.views || {}).filter((name) => isIndex(doc.views[name])).sort();
}

async function list(exchange, database) {
  const indexes = [SPECIAL];
  for (const doc of await designs(database)) {
    for (const name of indexNames(doc)) indexes.push(describe(database, doc, name));
  }
  exchange.send(200, { total_rows: indexes.length, indexes });
}

const missingKey = (key) => new HttpError(400, 'missing_required_key', `Missing required key: ${key}`);

function onlyKeys(object, known) {
  const stranger = Object.keys(object).find((key) => !known.includes(key));
  if (stranger !== undefined) throw new HttpError(400, 'invalid_key', `Invalid key ${stranger} for this request.`);
}

/** The fields of an index as one object, in order: `["a", {"b": "asc"}]` is `{a: "asc", b: "asc"}`. */
function fieldsOf(index) {
  if (index.fields === undefined) throw missingKey('fields');
  if (!Array.isArray(index.fields)) {
    const reason = `Sort must be an array of sort specs, not: ${erlang(index.fields, true)}`;
    throw new HttpError(400, 'invalid_sort_json', reason);
  }
  const fields = {};
  for (const field of index.fields) {
    const entries = typeof field === 'string' && field ? [[field, 'asc']] : Object.entries((typeof field === 'object' && field) || {});
    if (entries.length !== 1 || !['asc', 'desc'].includes(entries[0][1])) {
      throw new HttpError(400, 'invalid_sort_field', `Invalid sort field: ${erlang(field, true)}`);
    }
    fields[entries[0][0]] = entries[0][1];
  }
  if (new Set(Object.values(fields)).size > 1) {
    const reason = 'Sorts currently only support a single direction for all fields.';
    throw new HttpError(400, 'unsupported_mixed_sort', reason);
  }
  return fields;
}

/** Parses the request for a new index. Throws CouchDB's errors. */
function requested(body, version) {
  const { index, type = 'json' } = body;
  if (index === undefined) throw missingKey('index');
  onlyKeys(body, ['index', 'type', 'name', 'ddoc', 'w', 'partitioned']);
  for (const text of [type, ...['name', 'ddoc'].filter((key) => key in body).map((key) => body[key])]) {
    if (typeof text !== 'string') throw new HttpError(400, 'invalid_string', `Invalid string: ${erlang(text)}`);
    if (text === '') throw new HttpError(400, 'invalid_empty_string', 'Index name or ddoc cannot be empty string');
  }
  if (![undefined, true, false].includes(body.partitioned)) {
    throw crash(`Unknown Error: mango_opts :: {invalid_partitioned_value,${erlang(body.partitioned)}}`);
  }
  if (type === 'text' || (type === 'nouveau' && version.knowsNouveau)) {
    throw new HttpError(503, 'required index service unavailable', type);
  }
  if (type !== 'json') throw new HttpError(400, 'invalid_index', `Invalid type for index: ${type}`);
  if (index === null || typeof index !== 'object' || Array.isArray(index)) {
    throw new HttpError(400, 'invalid_index', `JSON indexes must be an object, not: ${erlang(index, true)}`);
  }
  onlyKeys(index, ['fields', 'partial_filter_selector']);
  const fields = fieldsOf(index);
  const filter = normalise(index.partial_filter_selector === undefined ? {} : index.partial_filter_selector, version);
  return { index, fields, filter };
}

async function create(exchange, database) {
  const body = await exchange.jsonObject();
  const { index, fields, filter } = requested(body, exchange.node.version);
  const digest = crypto.createHash('sha1').update(JSON.stringify([index])).digest('hex');
  const name = body.name || digest;
  const id = `_design/${String(body.ddoc || digest).replace(/^_design\//, '')}`;
  const held = await database.pouch.get(id).catch(() => null);
  const doc = held || { _id: id, language: 'query' };
  if (doc.language !== 'query') {
    const said = doc.language === undefined ? 'false' : `{${erlang('language')},${erlang(doc.language)}}`;
    throw new HttpError(400, 'invalid_ddoc_lang', `Existing design doc has an invalid language: ${said}`);
  }
  const view = { map: { fields, partial_filter_selector: filter }, reduce: '_count', options: { def: index } };
  const { partitioned } = body;
  if (held && (held.options || {}).partitioned !== partitioned) {
    const reason = `Requested partitioned option does not match existing value on design document ${id}`;
    throw new HttpError(400, 'invalid_partitioned_option', reason);
  }
  if (held && JSON.stringify((held.views || {})[name]) === JSON.stringify(view)) {
    return exchange.send(200, { result: 'exists', id, name });
  }
  doc.views = { ...doc.views, [name]: view };
  if (partitioned !== undefined) doc.options = { partitioned };
  if (!isDatabaseAdmin(exchange, database)) throw unsaved(refused(exchange).error);
  if (partitioned && !database.partitioned) throw unsaved('invalid_design_doc');
  const { write } = require('./documents');
  const [row] = await write(exchange, database, [doc]);
  if (row.failure && row.failure.status === 409) {
    throw crash('Encountered a conflict while saving the design document.', 'error_saving_ddoc');
  }
  if (row.failure) throw row.failure;
  return exchange.send(200, { result: 'created', id, name });
}

const unsaved = (why) => crash(`Unknown error while saving the design document: ${why}`, 'error_saving_ddoc');

async function removeIndex(exchange, database, id, name) {
  const doc = await database.pouch.get(id).catch(() => {
    throw notFound('missing');
  });
  if (doc.language !== 'query' || !indexNames(doc).includes(name)) throw notFound('missing');
  delete doc.views[name];
  if (!Object.keys(doc.views).length) delete doc.views;
  // A design document with options is kept.
  if (Object.keys(doc).every((field) => ['_id', '_rev', 'language'].includes(field))) doc._deleted = true;
  const { write } = require('./documents');
  const written = doc._deleted ? { _id: id, _rev: doc._rev, _deleted: true } : doc;
  const [row] = await write(exchange, database, [written], { trusted: true });
  if (row.failure) throw row.failure;
}

async function bulkDelete(exchange, database) {
  const { docids } = await exchange.jsonObject();
  const answer = { success: [], fail: [] };
  for (const given of docids || []) {
    const id = `_design/${given.replace(/^_design\//, '')}`;
    try {
      const doc = await database.pouch.get(id);
      await database.pouch.remove(doc);
      answer.success.push({ id, ok: true });
    } catch (error) {
      answer.fail.push({ id, error: fromPouch(error).error });
    }
  }
  exchange.send(200, answer);
}

/** The database for a query. A partial index is used only if the query names it, so it is hidden from others. */
function searchable(database, query) {
  if (query.use_index !== undefined) return database.pouch;
  const pouch = Object.create(database.pouch);
  pouch.allDocs = async (options) => {
    const found = await database.pouch.allDocs(options);
    if (options.startkey !== '_design/') return found;
    const isPartial = ({ map }) => map && Object.keys(map.partial_filter_selector || {}).length > 0;
    const rows = found.rows.map((row) => {
      const views = Object.entries((row.doc && row.doc.views) || {}).filter(([, view]) => !isPartial(view));
      return row.doc ? { ...row, doc: { ...row.doc, views: Object.fromEntries(views) } } : row;
    });
    return { ...found, rows };
  };
  return pouch;
}

async function find(exchange, database) {
  exchange.requireJson();
  const body = await exchange.jsonObject();
  if (body.selector === undefined) throw missingKey('selector');
  if (body.selector === null || typeof body.selector !== 'object') {
    throw new HttpError(400, 'invalid_selector_json', `Selector must be a JSON object, not: ${JSON.stringify(body.selector)}`);
  }
  const query = { ...body, limit: body.limit === undefined ? 25 : body.limit };
  if (/^\d+$/.test(body.bookmark || '')) query.skip = (body.skip || 0) + Number(body.bookmark);
  for (const option of ['bookmark', 'execution_stats', 'r', 'update', 'stable', 'conflicts', 'allow_fallback']) delete query[option];
  if (Array.isArray(query.fields) && !query.fields.length) delete query.fields;
  const started = process.hrtime.bigint();
  try {
    const { docs, warning } = await searchable(database, query).find(query);
    const answer = { docs, bookmark: docs.length ? String((query.skip || 0) + docs.length) : 'nil' };
    if (body.execution_stats) {
      answer.execution_stats = {
        total_keys_examined: 0,
        total_docs_examined: docs.length,
        total_quorum_docs_examined: 0,
        results_returned: docs.length,
        execution_time_ms: Number(process.hrtime.bigint() - started) / 1e6,
      };
    }
    if (warning) answer.warning = 'No matching index found, create an index to optimize query time.';
    exchange.send(200, answer);
  } catch (error) {
    if (/Cannot sort|no index|couldn't find/i.test(error.message || '')) {
      throw new HttpError(400, 'no_usable_index', 'No index exists for this sort, try indexing by the sort fields.');
    }
    throw new HttpError(400, 'invalid_operator', error.message);
  }
}

async function explain(exchange, database) {
  exchange.requireJson();
  const body = await exchange.jsonObject();
  if (body.selector === undefined) throw missingKey('selector');
  const everything = Object.keys(body.selector).length === 0 && !body.sort;
  const plan = everything
    ? { index: SPECIAL, selector: {}, opts: {} }
    : await database.pouch.explain({ selector: body.selector, fields: body.fields, sort: body.sort });
  exchange.send(200, {
    dbname: database.name,
    index: { ...plan.index },
    partitioned: database.partitioned ? 'global' : undefined,
    selector: plan.selector,
    opts: plan.opts,
    limit: body.limit === undefined ? 25 : body.limit,
    skip: body.skip || 0,
    fields: body.fields || 'all_fields',
  });
}

async function route(exchange, database) {
  const [, first, second, third, ...rest] = exchange.path;
  const { verb } = exchange;
  if (first === '_find') {
    if (verb !== 'POST') throw methodNotAllowed('POST');
    return find(exchange, database);
  }
  if (first === '_explain') {
    if (verb !== 'POST') throw methodNotAllowed('POST');
    return explain(exchange, database);
  }
  if (second === undefined) {
    if (verb === 'GET') return list(exchange, database);
    if (verb === 'POST') return create(exchange, database);
    throw methodNotAllowed('GET,POST');
  }
  if (second === '_bulk_delete' && verb === 'POST') {
    requireDatabaseAdmin(exchange, database);
    return bulkDelete(exchange, database);
  }
  if (verb !== 'DELETE') throw methodNotAllowed('DELETE');
  // CouchDB lets everyone who can read the database delete an index.
  // Both `_index/_design/ddoc/json/name` and `_index/ddoc/json/name` name an index.
  const [design, type, name] = second === '_design' ? [third, ...rest] : [second.replace(/^_design\//, ''), third, ...rest];
  if (type !== 'json' || name === undefined) throw notFound('missing');
  await removeIndex(exchange, database, `_design/${design}`, name);
  return exchange.send(200, { ok: true });
}

module.exports = { route };
