// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/* Which module answers a path of CouchDB 3. */

'use strict';

const { badRequest, methodNotAllowed, notFound } = require('./errors');
const databases = require('./databases');
const nodeRoutes = require('./node_routes');
const replication = require('./replication_routes');
const reshard = require('./reshard');

const only = (exchange, ...verbs) => {
  if (!verbs.includes(exchange.verb)) {
    throw methodNotAllowed(verbs.flatMap((verb) => (verb === 'GET' ? ['GET', 'HEAD'] : [verb])).join(','));
  }
};

function welcome(exchange) {
  only(exchange, 'GET');
  const { version, uuid, settings } = exchange.node;
  const vendor = settings.section('vendor');
  exchange.send(200, {
    couchdb: 'Welcome', version: version.version, git_sha: version.gitSha, uuid, features: version.features, vendor,
  });
}

function up(exchange) {
  only(exchange, 'GET');
  const mode = exchange.node.settings.get('couchdb', 'maintenance_mode');
  if (mode === 'true') return exchange.send(404, { status: 'maintenance_mode' });
  if (mode === 'nolb') return exchange.send(404, { status: 'nolb' });
  return exchange.send(200, { status: 'ok', seeds: {} });
}

function uuids(exchange) {
  only(exchange, 'GET');
  const text = exchange.query.get('count') || '1';
  if (!/^\d+$/.test(text) || Number(text) < 1) throw badRequest('count must be a positive integer');
  const most = Number(exchange.node.settings.get('uuids', 'max_count')) || 1000;
  if (Number(text) > most) throw badRequest('count parameter too large');
  const made = Array.from({ length: Number(text) }, () => exchange.node.uuid32());
  exchange.answerHeaders.Pragma = 'no-cache';
  return exchange.sendTagged(200, { uuids: made });
}

const HANDLERS = {
  _up: up,
  _uuids: uuids,
  _session: (exchange) => exchange.node.auth.session(exchange),
  _all_dbs: databases.allDatabases,
  _dbs_info: databases.databasesInfo,
  _membership: nodeRoutes.membership,
  _node: nodeRoutes.route,
  _cluster_setup: nodeRoutes.clusterSetup,
  _reshard: reshard.route,
  _scheduler: (exchange) => atHome(exchange, '_replicator', replication.scheduler),
  _replicate: replication.replicate,
  _active_tasks: replication.activeTasks,
  _utils(exchange) {
    only(exchange, 'GET');
    throw notFound('missing');
  },
};

async function route(exchange) {
  const [first] = exchange.path;
  if (first === undefined || first === '') return welcome(exchange);
  const handler = HANDLERS[first];
  if (handler && (exchange.path.length === 1 || /^_(node|reshard|scheduler|utils)$/.test(first))) return handler(exchange);
  return atHome(exchange, first, databases.route);
}

/** Answers a request, or forwards it to the node that the database lives on. Any node creates and deletes databases. */
function atHome(exchange, name, answer) {
  const { node, path, verb, isHandedOn } = exchange;
  const home = node.cluster.homeOf(name);
  const whole = path.length === 1 && (verb === 'PUT' || verb === 'DELETE');
  if (isHandedOn || whole || home === null || home === node.name) return answer(exchange);
  return node.cluster.forward(exchange, home);
}

module.exports = { route };
