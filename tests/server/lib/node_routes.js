// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The resources of a node: settings, statistics, system, versions, restart, members; and those of the whole cluster,
 * `_membership` and `_cluster_setup`.
 */

'use strict';

const crypto = require('node:crypto');
const { HttpError, badRequest, conflict, crash, methodNotAllowed, notFound } = require('./errors');
const { requireMetrics, requireServerAdmin } = require('./auth');
const { Settings } = require('./config');
const { makeDatabase, selectNames } = require('./databases');
const shards = require('./shards');

const MEASURES = ['_stats', '_system', '_prometheus'];
const SYSTEM_DATABASES = ['_users', '_replicator'];
const ICU = { name: 'libicu', library_version: '72.1', collator_version: '153.120', collation_algorithm_version: '15' };
const ERLANG = {
  version: '25.2.3',
  supported_hashes: [
    'blake2s', 'blake2b', 'sha3_512', 'sha3_384', 'sha3_256', 'sha3_224', 'sha512', 'sha384', 'sha256', 'sha224', 'sha',
    'ripemd160', 'md5', 'md4',
  ],
};

/** The node in a path: this one, or one that is connected. */
function findNode(exchange, name) {
  const { node } = exchange;
  if (name === '_local' || name === node.name) return node;
  const { cluster } = node;
  if (node.peers.has(name) && cluster.up(name)) return cluster.peer(name);
  if (node.memberNames().includes(name)) throw new HttpError(412, 'nodedown', `${name} is down`);
  throw notFound(`no such node: ${name}`);
}

async function route(exchange) {
  const [, name, first, ...rest] = exchange.path;
  if (MEASURES.includes(first)) requireMetrics(exchange);
  else requireServerAdmin(exchange);
  if (name === undefined) throw badRequest('Incomplete path to _node request');
  const node = findNode(exchange, name);
  if (node.isRemote) {
    const url = exchange.request.url.replace(/^\/+_node\/[^/?]*/, '/_node/_local');
    return exchange.node.cluster.forward(exchange, name, url);
  }
  if (first === undefined) {
    if (exchange.verb !== 'GET') throw methodNotAllowed('GET,HEAD');
    return exchange.send(200, { name: node.name });
  }
  const handler = HANDLERS[first];
  return handler ? handler(exchange, node, rest) : shards.route(exchange, node, first, rest);
}

const get = (answer) => (exchange, node, rest) => {
  if (exchange.verb !== 'GET') throw methodNotAllowed('GET');
  return exchange.send(200, answer(node, rest));
};

const HANDLERS = {
  _all_dbs: get((node) => shards.localDatabases(node)),
  _config: config,
  _dbs: shardMap,
  _nodes: members,
  _stats: get((node, path) => node.statistics.read(path, gauges(node))),
  _system: get((node) => system(node)),
  _versions: get((node) => ({ javascript_engine: node.version.javascript, erlang: ERLANG, collation_driver: ICU })),

  _smoosh: smoosh,

  async _prometheus(exchange, node) {
    if (exchange.verb !== 'GET') throw methodNotAllowed('GET');
    exchange.sendText(200, prometheus(node), { 'Content-Type': 'text/plain; version=2.0' });
  },

  async _restart(exchange, node) {
    if (exchange.verb !== 'POST') throw methodNotAllowed('POST');
    exchange.requireJson();
    await exchange.body();
    exchange.send(200, { ok: true });
    node.restart();
  },
};

/* Settings */

async function config(exchange, node, [section, key, ...more]) {
  const { settings } = node;
  if (more.length) throw notFound('missing');
  if (section === undefined) {
    if (exchange.verb !== 'GET') throw methodNotAllowed('GET');
    return exchange.send(200, settings.all());
  }
  if (key === undefined) {
    if (section === '_reload') {
      if (exchange.verb !== 'POST') throw methodNotAllowed('POST');
      settings.load();
      return exchange.send(200, { ok: true });
    }
    if (exchange.verb !== 'GET') throw methodNotAllowed('GET');
    return exchange.send(200, settings.section(section));
  }
  const persist = exchange.header('x-couch-persist') !== 'false';
  const old = settings.get(section, key);
  switch (exchange.verb) {
    case 'GET':
      if (old === undefined) throw notFound('unknown_config_value');
      return exchange.send(200, old);
    case 'PUT': {
      Settings.checkBlacklist(section);
      const given = await exchange.json();
      if (typeof given !== 'string') {
        throw node.version.numberSetting === 'crashes' ? crash() : badRequest('a JSON string expected');
      }
      const value = Settings.trimmed(section, key, given);
      if (section === 'admins' && value) await node.setAdmin(key, value, persist);
      else settings.set(section, key, value, persist);
      return exchange.send(200, old === undefined ? '' : old);
    }
    case 'DELETE':
      Settings.checkBlacklist(section);
      if (old === undefined) throw notFound('unknown_config_value');
      settings.delete(section, key, persist);
      return exchange.send(200, old);
    default:
      throw methodNotAllowed('GET,PUT,DELETE');
  }
}

/* Measurements */

function gauges(node) {
  const jobs = node.scheduler.summary();
  return {
    'couch_replicator/jobs/total': jobs.total,
    'couch_replicator/jobs/running': jobs.running,
    'couch_replicator/jobs/crashed': jobs.crashed,
    'couch_replicator/jobs/pending': jobs.pending,
    'couch_replicator/cluster_is_stable': 1,
    'couchdb/open_databases': node.opened.size,
  };
}

function system(node) {
  const memory = process.memoryUsage();
  const { fsRead, fsWrite, voluntaryContextSwitches, involuntaryContextSwitches } = process.resourceUsage();
  const used = node.databaseNames().map((name) => node.database(name)).filter(({ id }) => node.opened.has(id));
  const opened = used.reduce((sum, { q }) => sum + q, 0);
  const queue = opened ? { count: opened, min: 0, max: 0, 50: 0, 90: 0, 99: 0 } : {};
  const distribution = {};
  for (const peer of node.cluster.connected(node).slice(1)) {
    distribution[peer.name] = {
      recv_oct: 0, recv_cnt: 0, recv_max: 0, recv_avg: 0, recv_dvi: 0,
      send_oct: 0, send_cnt: 0, send_max: 0, send_avg: 0, send_pend: 0,
    };
  }
  return {
    uptime: node.uptime,
    memory: {
      other: memory.rss - memory.heapTotal,
      atom: 0,
      atom_used: 0,
      processes: memory.heapTotal,
      processes_used: memory.heapUsed,
      binary: memory.arrayBuffers,
      code: memory.external,
      ets: 0,
    },
    run_queue: 0,
    run_queue_dirty_cpu: 0,
    ets_table_count: 0,
    context_switches: voluntaryContextSwitches + involuntaryContextSwitches,
    reductions: node.statistics.counter('couchdb/httpd/requests'),
    garbage_collection_count: 0,
    words_reclaimed: 0,
    io_input: fsRead,
    io_output: fsWrite,
    os_proc_count: 0,
    stale_proc_count: 0,
    process_count: node.version.processes().length,
    process_limit: 262144,
    message_queues: {
      couch_file: queue,
      couch_db_updater: queue,
      ...Object.fromEntries(node.version.processes().map((name) => [name, 0])),
      ...Object.fromEntries(perNode(node).map((name) => [name, 0])),
    },
    internal_replication_jobs: shards.backlog(node.databaseNames().map((name) => node.database(name))),
    distribution,
    ...(node.version.distributionEvents ? { distribution_events: node.distributionEvents } : {}),
  };
}

const CHANNELS = ['index_cleanup', 'ratio_dbs', 'ratio_views', 'slack_dbs', 'slack_views', 'upgrade_dbs', 'upgrade_views'];

/** The state of automatic compaction, which PouchDB does not have: nothing waits. */
function smoosh(exchange, node, rest) {
  if (!node.version.smooshStatus || rest.length !== 1 || rest[0] !== 'status') throw notFound('no_db_file');
  if (exchange.verb !== 'GET') throw methodNotAllowed('GET');
  const idle = { starting: 0, waiting: { size: 0, min: 0, max: 0 }, active: 0 };
  return exchange.send(200, { channels: Object.fromEntries(CHANNELS.map((name) => [name, idle])) });
}

/** The processes that exist once per connected node, including this one. */
function perNode(node) {
  return node.cluster.connected(node).flatMap(({ name }) => [`rexi_server_${name}`, `rexi_buffer_${name}`]);
}

/** The counters in the text format of Prometheus. */
function prometheus(node) {
  const lines = [`# TYPE couchdb_uptime_seconds counter`, `couchdb_uptime_seconds ${node.uptime}`];
  const current = gauges(node);
  for (const [name, [type, desc]] of Object.entries(node.version.statistics())) {
    if (type === 'histogram') continue;
    const metric = `couchdb_${name.replace(/^couchdb\//, '').replace(/[^a-z0-9_]/g, '_')}${type === 'counter' ? '_total' : ''}`;
    const value = current[name] !== undefined ? current[name] : node.statistics.counter(name);
    lines.push(`# HELP ${metric} ${desc}`, `# TYPE ${metric} ${type}`, `${metric} ${value}`);
  }
  return `${lines.join('\n')}\n`;
}

/* Members */

function membership(exchange) {
  if (exchange.verb !== 'GET') throw methodNotAllowed('GET,HEAD');
  requireServerAdmin(exchange);
  const { node } = exchange;
  exchange.send(200, {
    all_nodes: node.cluster.connected(node).map(({ name }) => name).sort(),
    cluster_nodes: node.cluster.listedMembers(node),
  });
}

/** `_nodes` as a database of a node: a document for each member. */
async function members(exchange, node, [name]) {
  if (name === undefined || name === '_all_docs') {
    if (exchange.verb !== 'GET') throw methodNotAllowed('GET,HEAD');
    if (name === undefined) return exchange.send(200, { db_name: '_nodes', doc_count: node.memberNames().length });
    const withDocuments = exchange.query.get('include_docs') === 'true';
    const rows = node.memberNames().map((id) => {
      const { rev, fields } = node.members.get(id);
      return { id, key: id, value: { rev }, ...(withDocuments ? { doc: { _id: id, _rev: rev, ...fields } } : {}) };
    });
    return exchange.send(200, { total_rows: rows.length, offset: 0, rows });
  }
  if (name === '_local') throw badRequest('Invalid _local document id.');
  if (name.startsWith('_')) {
    throw new HttpError(400, 'illegal_docid', 'Only reserved document ids may start with underscore.');
  }
  const entry = node.members.get(name);
  switch (exchange.verb) {
    case 'GET':
      if (!entry) throw notFound('missing');
      if (entry.deleted) throw notFound('deleted');
      return exchange.send(200, { _id: name, _rev: entry.rev, ...entry.fields });
    case 'PUT': {
      const { rev } = node.cluster.join(node, name, await exchange.jsonObject('Document must be a JSON object'));
      return exchange.send(201, { ok: true, id: name, rev });
    }
    case 'DELETE': {
      const { rev } = node.cluster.leave(node, name, exchange.query.get('rev') || undefined);
      return exchange.send(200, { ok: true, id: name, rev });
    }
    default:
      throw methodNotAllowed('DELETE,GET,HEAD,PUT');
  }
}

/** `_dbs` as a database of a node: a shard map for each database. */
async function shardMap(exchange, node, [name]) {
  const names = node.databaseNames();
  if (exchange.verb === 'PUT' && names.includes(name)) return shards.changeMap(exchange, node, node.database(name));
  if (exchange.verb === 'POST' && name === '_bulk_docs') return shards.takeMaps(exchange, node);
  if (exchange.verb !== 'GET') throw methodNotAllowed('GET,HEAD');
  if (name === undefined) return exchange.send(200, { db_name: '_dbs', doc_count: names.length });
  const documentOf = (each) => shards.mapOf(node.database(each), node.registry.get(each));
  if (name !== '_all_docs') {
    if (!names.includes(name)) throw notFound('missing');
    const history = exchange.query.get('revs') === 'true' ? { _revisions: shards.historyOf(node.registry.get(name)) } : {};
    return exchange.send(200, { ...documentOf(name), ...history });
  }
  const withDocuments = exchange.query.get('include_docs') === 'true';
  const selected = selectNames(exchange, names);
  const rows = selected.map((id) => {
    const doc = documentOf(id);
    return { id, key: id, value: { rev: doc._rev }, ...(withDocuments ? { doc } : {}) };
  });
  return exchange.send(200, { total_rows: names.length, offset: Math.max(names.indexOf(selected[0]), 0), rows });
}

/* _cluster_setup */

const hasDatabases = (node, names) => names.every((name) => node.database(name));

function isClusterEnabled(node) {
  return !/^(127\.0\.0\.1|::1)$/.test(node.settings.get('chttpd', 'bind_address') || '127.0.0.1');
}

function setupState(node, names) {
  const hasAll = hasDatabases(node, names);
  if (node.settings.get('cluster', 'n') === '1') return hasAll ? 'single_node_enabled' : 'single_node_disabled';
  if (!isClusterEnabled(node)) return 'cluster_disabled';
  return hasAll ? 'cluster_finished' : 'cluster_enabled';
}

async function clusterSetup(exchange) {
  requireServerAdmin(exchange);
  const { node } = exchange;
  if (exchange.verb === 'GET') {
    const names = exchange.jsonQuery('ensure_dbs_exist') || SYSTEM_DATABASES;
    return exchange.send(200, { state: setupState(node, names) });
  }
  if (exchange.verb !== 'POST') throw methodNotAllowed('GET,HEAD,POST');
  exchange.requireJson();
  const body = await exchange.jsonObject();
  const action = ACTIONS[body.action];
  if (!action) throw badRequest(`Invalid Action '${body.action}'`);
  await action(node, body);
  return exchange.send(201, { ok: true });
}

async function createDatabases(node, names) {
  for (const name of names) if (!node.database(name)) await makeDatabase(node, name, systemPlacement(node));
}

const systemPlacement = (node) => ({
  q: Number(node.settings.get('cluster', 'q')) || 2,
  n: Number(node.settings.get('cluster', 'n')) || 3,
});

async function setCredentials(node, { username, password, password_hash: hash }) {
  if (username && (hash || password)) await node.setAdmin(username, hash || password, true);
}

const ACTIONS = {
  async enable_single_node(node, body) {
    const names = body.ensure_dbs_exist || SYSTEM_DATABASES;
    if (node.settings.get('cluster', 'n') === '1' && hasDatabases(node, names)) throw badRequest('Cluster is already enabled');
    await setCredentials(node, body);
    node.settings.set('cluster', 'n', '1');
    await createDatabases(node, names);
  },

  async enable_cluster(node, body) {
    if (body.remote_node) return remote(body, { ...body, remote_node: undefined });
    if (isClusterEnabled(node)) throw badRequest('Cluster is already enabled');
    if (!body.bind_address || /^(127\.0\.0\.1|::1)$/.test(body.bind_address)) {
      throw badRequest('Cluster setup requires a remote bind_address (not 127.0.0.1 nor ::1)');
    }
    if (body.node_count === undefined) throw badRequest('Cluster setup requires node_count to be configured');
    await setCredentials(node, body);
    node.settings.set('chttpd', 'bind_address', body.bind_address);
    node.settings.set('cluster', 'n', String(Math.min(Number(body.node_count) || 3, 3)));
    return undefined;
  },

  async add_node(node, body) {
    if (!isClusterEnabled(node)) throw badRequest('Cluster is not enabled.');
    await remote({ ...body, remote_node: body.host }, { action: 'receive_cookie', cookie: 'monster' });
    node.cluster.join(node, `${body.name || 'couchdb'}@${body.host}`);
  },

  async remove_node(node, body) {
    const entry = node.members.get(body.node);
    if (!entry || entry.deleted) throw notFound('missing');
    node.cluster.leave(node, body.node, entry.rev);
  },

  async receive_cookie() {},

  async finish_cluster(node, body) {
    const names = body.ensure_dbs_exist || SYSTEM_DATABASES;
    await membersConnected(node);
    if (hasDatabases(node, names)) throw badRequest('Cluster is already finished');
    for (const peer of node.cluster.reachable(node)) {
      for (const [name, hash] of Object.entries(node.settings.section('admins'))) peer.settings.set('admins', name, hash);
    }
    await createDatabases(node, names);
  },
};

async function membersConnected(node) {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    if (node.memberNames().every((name) => node.sees(name))) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new HttpError(500, 'setup_error', 'Cluster setup timed out waiting for nodes to connect');
}

/** Sends a request to _cluster_setup of another server, with the credentials in the request. */
async function remote({ remote_node: host, port = 5984, remote_current_user: user, remote_current_password: secret, username, password }, body) {
  const credentials = Buffer.from(`${user || username}:${secret || password}`).toString('base64');
  let answer;
  try {
    answer = await fetch(`http://${host}:${port}/_cluster_setup`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Basic ${credentials}` },
      body: JSON.stringify(body),
    });
  } catch {
    throw new HttpError(500, 'error', `conn_failed: ${host}:${port}`);
  }
  if (answer.status !== 201) throw new HttpError(answer.status, 'error', (await answer.json()).reason);
}

module.exports = { route, membership, clusterSetup, createDatabases, SYSTEM_DATABASES };
