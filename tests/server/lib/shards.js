// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * Copies of shards on single nodes: `/_node/NAME/_all_dbs` and `/_node/NAME/shards%2F...`.
 *
 * All copies share the one PouchDB of their database. A copy is a view of it: the documents in its range, up to the change
 * that the internal replication has brought to it. A copy that a changed map adds begins empty and is filled step by step.
 * One that a changed map removes stays on its node until it is deleted there.
 */

'use strict';

const crypto = require('node:crypto');
const { conflict, crash, fromPouch, methodNotAllowed, notFound } = require('./errors');
const { inRange } = require('./database');

const NAME = /^shards\/([0-9a-f]{8}-[0-9a-f]{8})\/(.*)\.(\d+)$/;

// The internal replication begins a moment after a map changes, and brings so many changes each time.
const REPLICATION_DELAY = 300;
const REPLICATION_PAUSE = 50;
const REPLICATION_STEP = 50;

const overlap = (one, other) => one.slice(0, 8) <= other.slice(9) && other.slice(0, 8) <= one.slice(9);

const keyOf = (range, node) => `${range} ${node}`;

function newCopy(upTo) {
  return { uuid: crypto.randomBytes(16).toString('hex'), created: Date.now() * 1000, upTo };
}

/** The copies of a database that exist on nodes: `RANGE NODE` → { uuid, created, upTo }, where `upTo` is null if it is full. */
function copiesOf(database) {
  if (!database.copies) {
    database.copies = {};
    for (const [range, nodes] of Object.entries(database.placement)) {
      for (const node of nodes) database.copies[keyOf(range, node)] = newCopy(null);
    }
  }
  return database.copies;
}

const copyOf = (database, range, node) => copiesOf(database)[keyOf(range, node)];

/** Gives a database another placement. Copies on nodes that had none begin empty, unless they are `full`. */
function place(database, placement, { full = false } = {}) {
  const copies = copiesOf(database);
  for (const [range, nodes] of Object.entries(placement)) {
    for (const node of nodes) copies[keyOf(range, node)] = copies[keyOf(range, node)] || newCopy(full ? null : 0);
  }
  database.placement = placement;
  database.q = Object.keys(placement).length;
  setTimeout(() => replicate(database), REPLICATION_DELAY).unref();
}

function removeCopy(database, range, node) {
  delete copiesOf(database)[keyOf(range, node)];
}

const unfilled = (database) => Object.values(database.copies || {}).filter(({ upTo }) => upTo !== null);

/** Fills the copies that are not full. */
async function replicate(database) {
  if (database.replicating) return;
  database.replicating = true;
  try {
    while (unfilled(database).length) {
      const { update_seq: last } = await database.pouch.info();
      for (const copy of unfilled(database)) {
        copy.upTo += REPLICATION_STEP;
        if (copy.upTo >= last) copy.upTo = null;
      }
      await new Promise((resolve) => setTimeout(resolve, REPLICATION_PAUSE));
    }
    database.save();
  } catch {
    // It was deleted meanwhile.
  } finally {
    database.replicating = false;
  }
}

/** How many databases wait for the internal replication, as `_system` counts it. */
const backlog = (databases) => databases.filter((database) => unfilled(database).length).length;

/** What `_all_dbs` of a node lists: its own databases, and the copies on it. */
function localDatabases(node) {
  const found = ['_dbs', '_nodes'];
  for (const name of node.databaseNames()) {
    const database = node.database(name);
    for (const key of Object.keys(copiesOf(database))) {
      const [range, holder] = key.split(' ');
      if (holder === node.name) found.push(shardName(database, range));
    }
  }
  return found.sort();
}

const shardName = (database, range) => `shards/${range}/${database.name}.${database.created}`;

/* Reading a copy */

/** The changes that a copy has, in their order: the last one of each document. */
async function changesOf(database, range, copy) {
  const upTo = copy.upTo === null ? Infinity : copy.upTo;
  const { results } = await database.pouch.changes({ since: 0, style: 'all_docs' });
  return results.filter(({ id, seq }) => seq <= upTo && inRange(database, range, id));
}

async function info(database, range, copy) {
  const changes = await changesOf(database, range, copy);
  const deleted = changes.filter((change) => change.deleted).length;
  const last = changes.length ? changes[changes.length - 1].seq : 0;
  const bytes = 40 * changes.length;
  return {
    db_name: shardName(database, range),
    engine: 'couch_bt_engine',
    doc_count: changes.length - deleted,
    doc_del_count: deleted,
    update_seq: last,
    purge_seq: 0,
    compact_running: false,
    sizes: { active: bytes, external: bytes, file: 8348 + 2 * bytes },
    instance_start_time: String(copy.created),
    disk_format_version: 8,
    committed_update_seq: last,
    compacted_seq: 0,
    props: database.partitioned ? { partitioned: true } : {},
    uuid: copy.uuid,
  };
}

/** The id of the checkpoint of the internal replication between two copies: digests of their UUIDs as Erlang terms. */
function checkpointId(source, target) {
  const digest = (uuid) => {
    const head = Buffer.from([131, 109, 0, 0, 0, uuid.length]);
    return crypto.createHash('md5').update(Buffer.concat([head, Buffer.from(uuid)])).digest('base64url');
  };
  return `_local/shard-sync-${digest(source)}-${digest(target)}`;
}

/**
 * A checkpoint that this copy has as source or target; null if the id is that of no checkpoint. The other copy has the same range
 * or, while copies are split one after the other, one that overlaps it; what is outside the target's range counts as copied.
 */
async function checkpoint(database, range, copy, id) {
  const own = { range, copy };
  const others = Object.entries(copiesOf(database))
    .map(([key, other]) => ({ range: key.split(' ')[0], copy: other }))
    .filter((other) => other.copy !== copy && overlap(range, other.range));
  for (const [source, target] of others.flatMap((other) => [[own, other], [other, own]])) {
    if (checkpointId(source.copy.uuid, target.copy.uuid) !== id) continue;
    const upTo = target.copy.upTo === null ? Infinity : target.copy.upTo;
    const reached = (await changesOf(database, source.range, source.copy)).filter(({ seq }) => seq <= upTo);
    if (!reached.length) return null;
    return { _id: id, _rev: '0-1', seq: reached[reached.length - 1].seq, target_uuid: target.copy.uuid };
  }
  return null;
}

const number = (text, fallback) => (/^\d+$/.test(text || '') ? Number(text) : fallback);

async function allDocuments(exchange, database, range, copy) {
  const body = exchange.verb === 'POST' ? await exchange.jsonObject() : {};
  const live = (await changesOf(database, range, copy)).filter((change) => !change.deleted);
  const ids = live.map(({ id }) => id).sort();
  const wanted = body.keys ? body.keys.filter((key) => ids.includes(key)) : ids;
  const options = { keys: wanted, include_docs: exchange.query.get('include_docs') === 'true' };
  const { rows } = wanted.length ? await database.pouch.allDocs(options) : { rows: [] };
  return exchange.send(200, { total_rows: live.length, offset: 0, rows });
}

async function feed(exchange, database, range, copy) {
  const { query } = exchange;
  const since = number(query.get('since'), 0);
  let changes = (await changesOf(database, range, copy)).filter(({ seq }) => seq > since);
  const last = changes.length ? changes[changes.length - 1].seq : since;
  if (query.get('descending') === 'true') changes.reverse();
  const limit = number(query.get('limit'), Infinity);
  const isCut = changes.length > limit;
  changes = changes.slice(0, limit);
  const all = query.get('style') === 'all_docs';
  const results = changes.map(({ seq, id, changes: revisions, deleted }) => ({
    seq, id, changes: all ? revisions : revisions.slice(0, 1), ...(deleted ? { deleted: true } : {}),
  }));
  return exchange.send(200, { results, last_seq: isCut && changes.length ? changes[changes.length - 1].seq : last });
}

async function revisionsDiff(exchange, database, range, copy) {
  const asked = await exchange.jsonObject();
  const known = new Set((await changesOf(database, range, copy)).map(({ id }) => id));
  const found = await database.pouch.revsDiff(asked);
  for (const [id, revisions] of Object.entries(asked)) if (!known.has(id)) found[id] = { missing: revisions };
  return exchange.send(200, found);
}

/** The `_local` documents of a database, or of a range of it. PouchDB has no list of them. */
async function localDocuments(exchange, database, range) {
  const withDocuments = exchange.query.get('include_docs') === 'true';
  const rows = [];
  for (const id of [...database.locals].sort()) {
    if (range && !inRange(database, range, id)) continue;
    const doc = await database.pouch.get(id).catch(() => null);
    if (doc) rows.push({ id, key: id, value: { rev: doc._rev }, ...(withDocuments ? { doc } : {}) });
  }
  return exchange.send(200, { total_rows: null, offset: null, rows });
}

async function localDocument(exchange, database, range, copy, id) {
  if (exchange.verb === 'GET') {
    const doc = (await checkpoint(database, range, copy, id)) || (await database.pouch.get(id).catch(() => null));
    if (!doc) throw notFound('missing');
    return exchange.send(200, doc);
  }
  if (exchange.verb !== 'PUT') throw methodNotAllowed('DELETE,GET,HEAD,PUT');
  const { _rev: _given, ...doc } = await exchange.jsonObject('Document must be a JSON object');
  const known = await database.pouch.get(id).catch(() => null);
  const { rev } = await database.pouch.put({ ...doc, _id: id, ...(known ? { _rev: known._rev } : {}) });
  database.locals.add(id);
  return exchange.send(201, { ok: true, id, rev });
}

/** A property of the whole database, which each copy has. */
async function property(exchange, database, field) {
  if (exchange.verb === 'GET') return exchange.send(200, database[field]);
  if (exchange.verb !== 'PUT') throw methodNotAllowed('PUT,GET');
  const value = await exchange.json();
  if (field === 'revsLimit' && !(Number.isInteger(value) && value > 0)) throw crash();
  database[field] = value;
  database.save();
  return exchange.send(200, { ok: true });
}

/** Answers what is below `/_node/NAME/shards%2F...`. */
async function route(exchange, node, name, [member, ...more]) {
  const found = NAME.exec(name);
  const database = found && node.database(found[2]);
  const range = found && found[1];
  const copy = database && String(database.created) === found[3] && copyOf(database, range, node.name);
  if (exchange.verb === 'DELETE' && member === undefined) {
    if (!copy) throw notFound('missing');
    removeCopy(database, range, node.name);
    return exchange.send(200, { ok: true });
  }
  if (!copy) throw notFound('no_db_file');
  const isFeed = ['_all_docs', '_changes'].includes(member);
  switch (member) {
    case undefined:
      if (exchange.verb !== 'GET') throw methodNotAllowed('DELETE,GET,HEAD');
      return exchange.send(200, await info(database, range, copy));
    case '_all_docs':
      return allDocuments(exchange, database, range, copy);
    case '_changes':
      return feed(exchange, database, range, copy);
    case '_revs_diff':
      return revisionsDiff(exchange, database, range, copy);
    case '_local_docs':
      return localDocuments(exchange, database, range);
    case '_local':
      return localDocument(exchange, database, range, copy, `_local/${more.join('/')}`);
    case '_security':
      return property(exchange, database, 'security');
    case '_revs_limit':
      return property(exchange, database, 'revsLimit');
    case '_compact':
      exchange.requireJson();
      return exchange.send(202, { ok: true });
    default:
  }
  if (exchange.verb !== 'GET' || isFeed) throw methodNotAllowed('GET,HEAD');
  const id = [member, ...more].join('/');
  const has = (await changesOf(database, range, copy)).some((change) => change.id === id && !change.deleted);
  if (!has) throw notFound('missing');
  try {
    const { _id, _rev, ...rest } = await database.pouch.get(id);
    return exchange.send(200, { _id, _rev, ...rest });
  } catch (error) {
    throw fromPouch(error);
  }
}

/* The shard map */

/** The hash of a revision of the document of a database in `_dbs`. */
const hashOf = (id, generation) => crypto.createHash('md5').update(`${id} ${generation}`).digest('hex');

/** The revisions of the document of a database in `_dbs`, the newest first. */
function historyOf({ id, generation }) {
  return { start: generation, ids: Array.from({ length: generation }, (_, place) => hashOf(id, generation - place)) };
}

/** The document of a database in `_dbs`. Fields of others are kept. */
function mapOf(database, { id, generation }) {
  const { name, created, partitioned, placement, map } = database;
  const byNode = {};
  const added = [];
  for (const [range, nodes] of Object.entries(placement)) {
    for (const node of [...nodes].sort()) {
      added.push(['add', range, node]);
      (byNode[node] = byNode[node] || []).push(range);
    }
  }
  const { changelog = added, ...others } = map || {};
  return {
    _id: name,
    _rev: `${generation}-${hashOf(id, generation)}`,
    shard_suffix: [...`.${created}`].map((character) => character.charCodeAt(0)),
    changelog,
    by_node: byNode,
    by_range: Object.fromEntries(Object.entries(placement).map(([range, nodes]) => [range, [...nodes].sort()])),
    props: partitioned ? { partitioned: true } : {},
    ...others,
  };
}

const OWN = ['_id', '_rev', 'shard_suffix', 'by_node', 'by_range', 'props'];

/** Changes the document of a database in `_dbs`, and its placement with it. */
async function changeMap(exchange, node, database) {
  const document = await exchange.jsonObject('Document must be a JSON object');
  const { _rev: rev } = mapOf(database, node.registry.get(database.name));
  if (document._rev !== rev) throw conflict();
  database.map = Object.fromEntries(Object.entries(document).filter(([field]) => !OWN.includes(field)));
  place(database, document.by_range);
  database.save();
  node.register(database);
  await node.cluster.settle();
  const written = mapOf(node.database(database.name), node.registry.get(database.name));
  return exchange.send(201, { ok: true, id: database.name, rev: written._rev });
}

/** Takes revisions of shard maps that another node has: the nodes get them from each other here, before a change is answered. */
async function takeMaps(exchange, node) {
  const { docs, new_edits: isNew } = await exchange.jsonObject();
  if (isNew !== false || !Array.isArray(docs)) throw methodNotAllowed('GET,HEAD');
  await node.cluster.settle();
  return exchange.send(201, []);
}

module.exports = {
  backlog, changeMap, copiesOf, historyOf, localDatabases, localDocuments, mapOf, place, removeCopy, replicate, route,
  shardName, takeMaps,
};
