// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The databases of a server: the list, creation and deletion, and the resources of a whole database (information,
 * security, limits, shards, compaction). Documents are in documents.js.
 */

'use strict';

const { HttpError, badRequest, crash, forbidden, methodNotAllowed, noDatabase, notFound } = require('./errors');
const {
  authenticationDatabase, isDatabaseAdmin, refused, requireForSystem, requireMaintainer, requireMember, requireServerAdmin,
} = require('./auth');
const { Database, place, rangeOf } = require('./database');
const { USERS_DESIGN } = require('./validation');
const { encode } = require('./exchange');
const documents = require('./documents');
const { replicate } = require('./shards');

const NAME = /^[a-z][a-z0-9_$()+/-]*$/;
const SYSTEM = /^(_users|_replicator|_global_changes|_dbs|_nodes)$|^[a-z][a-z0-9_$()+/-]*\/_(users|replicator)$/;
const MOST_KEYS = 100;

/* The list */

/** The names that a list query selects: by range, direction, skip and limit. */
function selectNames(exchange, names) {
  const descending = exchange.query.get('descending') === 'true';
  const start = exchange.jsonQuery('start_key', 'startkey');
  const end = exchange.jsonQuery('end_key', 'endkey');
  const key = exchange.jsonQuery('key');
  const inclusive = exchange.query.get('inclusive_end') !== 'false';
  const [low, high] = descending ? [end, start] : [start, end];
  let selected = names.filter((name) => {
    if (key !== undefined) return name === key;
    if (low !== undefined && (name < low || (descending && !inclusive && name === low))) return false;
    return high === undefined || name < high || (name === high && (inclusive || descending));
  });
  if (descending) selected = selected.reverse();
  const skip = count(exchange, 'skip', 0);
  return selected.slice(skip, skip + count(exchange, 'limit', Infinity));
}

function count(exchange, name, fallback) {
  if (!exchange.query.has(name)) return fallback;
  const text = exchange.query.get(name);
  if (!/^\d+$/.test(text)) {
    throw new HttpError(400, 'query_parse_error', `Invalid value for integer: "${text}"`);
  }
  return Number(text);
}

async function allDatabases(exchange) {
  if (exchange.verb !== 'GET') throw methodNotAllowed('GET,HEAD');
  if (exchange.node.settings.get('chttpd', 'admin_only_all_dbs') !== 'false') requireServerAdmin(exchange);
  const { node } = exchange;
  // The ETag covers the list of all databases, whichever part was requested.
  return exchange.sendTagged(200, selectNames(exchange, node.databaseNames()), node.databaseFingerprint());
}

async function databasesInfo(exchange) {
  const { node } = exchange;
  requireServerAdmin(exchange);
  if (exchange.verb === 'GET') {
    const names = selectNames(exchange, node.databaseNames());
    const infos = await Promise.all(names.map(async (key) => ({ key, info: await node.database(key).info() })));
    return exchange.sendTagged(200, infos, node.databaseFingerprint());
  }
  if (exchange.verb !== 'POST') throw methodNotAllowed('GET,HEAD,POST');
  const { keys } = await exchange.jsonObject();
  if (keys === undefined) throw badRequest('`keys` member must exist.');
  if (!Array.isArray(keys)) throw badRequest('`keys` member must be an array.');
  const most = Number(node.settings.get('chttpd', 'max_db_number_for_dbs_info_req')) || MOST_KEYS;
  if (keys.length > most) throw badRequest('too_many_keys');
  return exchange.send(
    200,
    await Promise.all(
      keys.map(async (key) => {
        const database = node.database(key);
        return database ? { key, info: await database.info() } : { key, error: 'not_found' };
      }),
    ),
  );
}

/* One database */

function positive(exchange, name, fallback) {
  if (!exchange.query.has(name)) return fallback;
  const text = exchange.query.get(name);
  if (!/^\d+$/.test(text) || Number(text) < 1) throw badRequest(`The \`${name}\` value should be a positive integer.`);
  return Number(text);
}

function partitionedOf(exchange) {
  const text = exchange.query.get('partitioned');
  if (text === null || text === 'false') return false;
  if (text === 'true') return true;
  throw badRequest('Invalid `partitioned` parameter');
}

async function create(exchange, name) {
  requireServerAdmin(exchange);
  const { node } = exchange;
  const { settings } = node;
  const q = positive(exchange, 'q', Number(settings.get('cluster', 'q')) || 2);
  const n = positive(exchange, 'n', Number(settings.get('cluster', 'n')) || 3);
  const partitioned = partitionedOf(exchange);
  if (!NAME.test(name) && !SYSTEM.test(name)) {
    throw new HttpError(
      400,
      'illegal_database_name',
      `Name: '${name}'. Only lowercase characters (a-z), digits (0-9), and any of the characters _, $, (, ), +, -, ` +
        'and / are allowed. Must begin with a letter.',
    );
  }
  if (node.database(name)) {
    throw new HttpError(412, 'file_exists', 'The database could not be created, the file already exists.');
  }
  const database = await makeDatabase(node, name, { q, n, partitioned });
  await node.cluster.settle();
  const answered = Object.values(database.placement).every(
    (nodes) => nodes.filter((holder) => node.sees(holder)).length >= Math.floor(nodes.length / 2) + 1,
  );
  exchange.send(answered ? 201 : 202, { ok: true }, { Location: exchange.location(`/${encode(name)}`) });
}

async function makeDatabase(node, name, { q = 2, n = 3, partitioned = false } = {}) {
  // CouchDB places copies on members that do not exist, too.
  const database = Database.create(node.cluster.engine, { name, q, placement: place(q, n, node.memberNames()), partitioned });
  Object.assign(database, { security: defaultSecurity(node) });
  node.register(database);
  database.save();
  if (database.isUsers) await database.pouch.put(USERS_DESIGN);
  return database;
}

const ADMIN_ONLY = () => ({ members: { roles: ['_admin'] }, admins: { roles: ['_admin'] } });

/** The security object of a new database; undefined if CouchDB does not know the value of the setting. */
function defaultSecurity(node) {
  const word = node.settings.get('couchdb', 'default_security') || 'admin_only';
  if (word === 'admin_only') return ADMIN_ONLY();
  return word === 'everyone' || word === 'admin_local' ? {} : undefined;
}

/** Creates many empty databases, which are opened only when a request needs their content. */
function pretendDatabases(node, count) {
  const members = node.memberNames().filter((member) => node.cluster.exists(member));
  for (let number = 0; number < count; number += 1) {
    const name = `pretended_${String(number).padStart(6, '0')}`;
    const database = Database.create(node.cluster.engine, { name, q: 2, placement: place(2, 1, members), partitioned: false });
    Object.assign(database, { untouched: true, references: 1, security: defaultSecurity(node) });
    node.registry.set(name, { id: database.id, generation: 1, deleted: false, database });
  }
}

async function remove(exchange, name) {
  requireServerAdmin(exchange);
  if (exchange.query.has('rev')) {
    throw badRequest('You tried to DELETE a database with a ?=rev parameter. Did you mean to DELETE a document instead?');
  }
  const database = exchange.node.database(name);
  if (!database) throw noDatabase();
  await exchange.node.unregister(database);
  await exchange.node.cluster.settle();
  exchange.send(200, { ok: true });
}

/** Answers all paths below the name of a database. */
async function route(exchange) {
  const [name, member] = exchange.path;
  requireForSystem(exchange);
  if (exchange.path.length === 1) {
    if (exchange.verb === 'PUT') return create(exchange, name);
    if (exchange.verb === 'DELETE') return remove(exchange, name);
  }
  const database = exchange.node.database(name);
  if (!database) throw noDatabase();
  // CouchDB could not create its files, and retries with each request.
  if (database.security === undefined) database.security = defaultSecurity(exchange.node);
  if (database.security === undefined) throw crash('No DB shards could be opened.', 'internal_server_error');
  requireMember(exchange, database);
  exchange.node.opened.add(database.id);
  if (exchange.path.length === 1) {
    if (exchange.verb === 'GET') return exchange.send(200, await database.info());
    if (exchange.verb === 'POST') return documents.post(exchange, database);
    throw methodNotAllowed('DELETE,GET,HEAD,POST');
  }
  const whole = exchange.path.length === 2 && WHOLE[member];
  if (whole) return whole(exchange, database);
  if (member === '_shards' && exchange.path.length === 3) return shardOf(exchange, database);
  if (member === '_compact') return compactDesign(exchange, database);
  return documents.route(exchange, database);
}

function shardOf(exchange, database) {
  const range = rangeOf(database, exchange.path[2]);
  return exchange.send(200, { range, nodes: database.placement[range] });
}

function isGroup(group) {
  if (group === undefined) return true;
  if (group === null || typeof group !== 'object' || Array.isArray(group)) return false;
  return ['names', 'roles'].every((field) => {
    const list = group[field];
    return list === undefined || (Array.isArray(list) && list.every((item) => typeof item === 'string'));
  });
}

/** GET and PUT of a limit: a positive integer. Anything else is a function_clause error in CouchDB. */
function limit(field, { guard = () => {}, check = () => {} }) {
  return async (exchange, database) => {
    guard(exchange);
    if (exchange.verb === 'GET') return exchange.send(200, database[field]);
    if (exchange.verb !== 'PUT') throw methodNotAllowed('PUT,GET');
    const value = await exchange.json();
    if (!Number.isInteger(value) || value < 1) throw crash();
    check(exchange, database);
    database[field] = value;
    database.save();
    return exchange.send(200, { ok: true });
  };
}

/** The copies of a database refuse its new limit, which CouchDB reports as a badmatch. */
function limitIsAdmins(exchange, database) {
  if (isDatabaseAdmin(exchange, database)) return;
  const { error, reason } = refused(exchange, 'You are not a db or server admin.');
  throw crash(`{error,{${error},<<"${reason}">>}}`, 'badmatch');
}

function accepted(then) {
  return async (exchange, database) => {
    requireMaintainer(exchange, database);
    if (exchange.verb !== 'POST') throw methodNotAllowed('POST');
    exchange.requireJson();
    await exchange.body();
    database.tidy(() => then(database));
    return exchange.send(202, { ok: true });
  };
}

/** Views are compacted with the database, but the design document must exist. */
async function compactDesign(exchange, database) {
  const design = exchange.path[2];
  const there = design === '' || (await database.pouch.get(`_design/${design}`).catch(() => null));
  const compact = accepted(async () => database.pouch.compact());
  if (there || exchange.verb !== 'POST' || !isDatabaseAdmin(exchange, database)) return compact(exchange, database);
  exchange.requireJson();
  throw notFound('missing');
}

function requireEditable({ node: { settings } }, database) {
  if (database.name !== authenticationDatabase(settings) || settings.isTrue('couchdb', 'users_db_security_editable')) return;
  throw forbidden("You can't edit the security object of the user database.");
}

const WHOLE = {
  async _security(exchange, database) {
    if (exchange.verb === 'GET') return exchange.send(200, database.security);
    if (exchange.verb !== 'PUT') throw methodNotAllowed('PUT,GET');
    requireEditable(exchange, database);
    const security = await exchange.json();
    const form = security !== null && typeof security === 'object' && !Array.isArray(security);
    const whole = form && isGroup(security.admins) && isGroup(security.members) && isGroup(security.readers);
    if (!whole || !isDatabaseAdmin(exchange, database)) {
      // The copies of the database refuse it, so there is no majority.
      throw new HttpError(500, 'error', 'no_majority');
    }
    database.security = security;
    database.save();
    return exchange.send(200, { ok: true });
  },
  _revs_limit: limit('revsLimit', { check: limitIsAdmins }),
  _purged_infos_limit: limit('purgedInfosLimit', { guard: requireServerAdmin }),
  _compact: accepted((database) => database.pouch.compact()),
  _view_cleanup: accepted((database) => database.pouch.viewCleanup()),
  async _ensure_full_commit(exchange, database) {
    if (exchange.verb !== 'POST') throw methodNotAllowed('POST');
    exchange.requireJson();
    await exchange.body();
    return exchange.send(201, { ok: true, instance_start_time: String(database.created) });
  },
  async _shards(exchange, database) {
    if (exchange.verb !== 'GET') throw methodNotAllowed('GET');
    return exchange.send(200, { shards: database.placement });
  },
  async _sync_shards(exchange, database) {
    requireServerAdmin(exchange);
    if (exchange.verb !== 'POST') throw methodNotAllowed('POST');
    replicate(database);
    return exchange.send(202, { ok: true });
  },
};

module.exports = { allDatabases, databasesInfo, route, makeDatabase, pretendDatabases, selectNames };
