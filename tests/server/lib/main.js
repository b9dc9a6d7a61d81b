// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The embedded server: parses the options, starts the nodes, prints their URLs, and leaves nothing behind.
 *
 * `../run` starts it, after it has found Node.js and the packages. The admin is in the environment, so that no password is
 * in the process list.
 */

'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const { parseArgs } = require('node:util');
const { Journal } = require('./log');
const { keepLargeIntegers } = require('./numbers');

const { values } = parseArgs({
  options: {
    dialect: { type: 'string', default: '3' },
    nodes: { type: 'string', default: '1' },
    port: { type: 'string', default: '0' },
    data: { type: 'string' },
    journal: { type: 'string' },
    etc: { type: 'string' },
    version: { type: 'string' },
    'pretend-databases': { type: 'string', default: '0' },
  },
});

keepLargeIntegers();

const temporary = values.data || values.etc ? null : fs.mkdtempSync(path.join(os.tmpdir(), 'couchdb-embedded-'));
const data = values.data || temporary;
const journal = new Journal(values.journal);
let server = null;
let stopping = false;

async function stop(status) {
  if (stopping) return;
  stopping = true;
  const late = setTimeout(() => leave(status), 3000);
  late.unref();
  if (server) await server.stop().catch(() => {});
  leave(status);
}

function leave(status) {
  if (temporary) fs.rmSync(temporary, { recursive: true, force: true });
  process.exit(status);
}

process.on('SIGTERM', () => stop(0));
process.on('SIGINT', () => stop(0));
process.on('SIGHUP', () => stop(0));
process.on('nodeDied', () => stop(1));
process.on('unhandledRejection', tellUnexpected);
// The reader of these streams may have exited.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

function tellUnexpected(error) {
  process.stderr.write(`unexpected: ${(error && error.stack) || error}\n`);
}

const CONTROL = {
  stop: ['stopped', (node) => node.stop()],
  start: ['started', (node) => (node.isUp ? undefined : node.start())],
  part: ['parted', (node) => node.cluster.part(node)],
  mend: ['mended', (node) => node.cluster.mend(node)],
};

/**
 * Reads commands from standard input: `stop 2` and `start 2` stop and start a node, `part 2` and `mend 2` disconnect it from
 * the others and connect it again. Reports each on standard error.
 */
function listenToControl() {
  // A background process that reads from a terminal is stopped by it.
  if (process.stdin.isTTY) return;
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', async (line) => {
    const found = /^(stop|start|part|mend)\s+(\d+)\s*$/.exec(line);
    const node = found && server.nodes[Number(found[2]) - 1];
    if (!node) {
      process.stderr.write(`not understood: ${line}\n`);
      return;
    }
    const [done, act] = CONTROL[found[1]];
    try {
      await act(node);
      process.stderr.write(`${done} ${found[2]}\n`);
    } catch (error) {
      process.stderr.write(`failed ${found[2]}: ${error.message}\n`);
    }
  });
  // The parent process can ask for a stop when it ends, however that happens.
  lines.on('close', () => process.env.COUCHPY_STOP_AT_EOF && stop(0));
  lines.on('error', () => {});
}

/** Starts the nodes of CouchDB 3, which differ only in names and ports. The admin is hashed once for all. */
async function startCouch3(admin, count, port) {
  const version = require('./versions')[values.dialect];
  const { Engine } = require('./engine');
  const { Cluster } = require('./cluster');
  const { Node } = require('./node');
  const { createDatabases, SYSTEM_DATABASES } = require('./node_routes');
  const { pretendDatabases } = require('./databases');
  const passwords = require('./passwords');
  const engine = new Engine({ directory: path.join(data, 'databases'), persistent: Boolean(values.data) });
  const cluster = new Cluster(engine);
  const replicatorKey = crypto.randomBytes(16).toString('hex');
  const nodes = [];
  for (let index = 1; index <= count; index += 1) {
    nodes.push(
      new Node({
        index, cluster, version, data, port: port && port + index - 1, single: count === 1, journal, replicatorKey,
      }),
    );
  }
  const fresh = {};
  for (const node of nodes) {
    const kept = node.settings.get('admins', admin.name);
    const record = kept && passwords.parseAdmin(kept, version);
    const same = record && (await passwords.verify(admin.password, record));
    if (!same && !fresh.hash) {
      fresh.hash = passwords.formatAdmin(await passwords.hash(admin.password, node.settings, version), version);
    }
    node.firstSettings(same ? null : { name: admin.name, hash: fresh.hash });
  }
  for (const node of nodes) await node.start();
  if (count === 1) await createDatabases(nodes[0], SYSTEM_DATABASES);
  pretendDatabases(nodes[0], Number(values['pretend-databases']));
  return {
    nodes,
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()));
      for (const name of new Set(nodes.flatMap((node) => node.databaseNames()))) {
        for (const node of nodes) if (node.database(name)) node.database(name).save();
      }
      if (engine.persistent) await engine.close();
    },
  };
}

/** Starts one node as an etc directory says, such as a service manager starts it. */
async function startEtc(directory) {
  const { readEtc } = require('./etc');
  const { Settings } = require('./config');
  const { Engine } = require('./engine');
  const { Distribution } = require('./distribution');
  const { Node } = require('./node');
  const { createDatabases, SYSTEM_DATABASES } = require('./node_routes');
  const known = require('./versions')[values.dialect];
  const version = { ...known, version: values.version || known.version };
  const etc = readEtc(directory);
  etc.settings = new Settings({ defaults: {}, files: () => readEtc(directory).files, keepDefaults: version.keepDefaults });
  const home = path.resolve(etc.root, etc.settings.get('couchdb', 'database_dir') || 'data');
  fs.mkdirSync(home, { recursive: true });
  const engine = new Engine({ directory: path.join(home, 'shards'), persistent: true });
  const replicatorKey = crypto.randomBytes(16).toString('hex');
  const node = new Node({ index: 1, cluster: new Distribution(engine, etc), version, data: home, journal, replicatorKey, etc });
  await node.start();
  if (etc.settings.isTrue('couchdb', 'single_node')) await createDatabases(node, SYSTEM_DATABASES);
  return {
    nodes: [node],
    async stop() {
      await node.stop();
      for (const name of node.databaseNames()) node.database(name).save();
      await engine.close();
    },
  };
}

async function main() {
  const given = /^([^:]+):(.+)$/s.exec(process.env.COUCHPY_ADMIN || '');
  const admin = given && { name: given[1], password: given[2] };
  delete process.env.COUCHPY_ADMIN;
  const port = Number(values.port);
  if (values.etc) server = await startEtc(values.etc);
  else {
    server = values.dialect === '1'
      ? await require('./dialect1').start({ admin, port, data, persistent: Boolean(values.data), journal })
      : await startCouch3(admin, Number(values.nodes), port);
  }
  // The last resort: an exception that nothing catches, in PouchDB for instance, costs one request at most.
  process.on('uncaughtException', tellUnexpected);
  listenToControl();
  process.stdout.write(`${server.nodes.map((node) => `http://${node.address}/`).join(' ')}\n`);
}

main().catch((error) => {
  process.stderr.write(`${error.message || error}\n`);
  if (process.env.COUCHPY_DEBUG) process.stderr.write(`${error.stack}\n`);
  leave(1);
});
