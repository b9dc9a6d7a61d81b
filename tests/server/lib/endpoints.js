// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/* The endpoints of a replication: parsing them, removing their credentials, identifying the replication. */

'use strict';

const crypto = require('node:crypto');

/** `said` is the reason in the form used when a document is refused, with CouchDB's own term. */
class BadReplication extends Error {
  constructor(reason, said = reason) {
    super(reason);
    this.said = said;
    this.isBadRequest = said !== reason;
  }
}

const badText = (reason) => new BadReplication(reason, `{throw,{bad_request,"${reason}"}}`);
const badBinary = (reason) => new BadReplication(reason, `{throw,{bad_request,<<"${reason}">>}}`);

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const BOOLEANS = ['continuous', 'create_target', 'winning_revs_only', 'use_bulk_get'];
const NUMBERS = [
  'worker_processes', 'worker_batch_size', 'http_connections', 'connection_timeout', 'retries_per_request', 'checkpoint_interval',
];

/** Throws for fields that contradict each other or have the wrong type. */
function checkFields(doc) {
  const given = (name) => doc[name] !== undefined && doc[name] !== null;
  if (['doc_ids', 'filter', 'selector'].filter(given).length > 1) {
    throw badText('`doc_ids`,`filter`,`selector` are mutually exclusive');
  }
  for (const name of ['source_proxy', 'target_proxy']) {
    if (doc.proxy && doc[name]) throw badText(`\`proxy\` is mutually exclusive with \`${name}\``);
  }
  if (given('doc_ids') && !Array.isArray(doc.doc_ids)) throw badBinary('parameter `doc_ids` must be an array');
  for (const name of ['selector', 'create_target_params']) {
    if (doc[name] !== undefined && !isObject(doc[name])) throw badBinary(`parameter \`${name}\` must be a JSON object`);
  }
  if (doc.query_params !== undefined && !isObject(doc.query_params)) throw badBinary('parameter `query_params` must be an object');
  for (const name of BOOLEANS) {
    if (doc[name] !== undefined && typeof doc[name] !== 'boolean') throw badBinary(`parameter \`${name}\` must be a boolean`);
  }
  for (const name of NUMBERS) {
    if (doc[name] !== undefined && !/^-?\d+$/.test(String(doc[name]))) throw new BadReplication('badarg', '{error,badarg}');
  }
}

/** An endpoint as { url, headers }. Credentials come from `auth`, the URL or `headers`. */
function parseEndpoint(end) {
  const given = typeof end === 'string' ? { url: end } : end;
  if (!given || typeof given !== 'object' || typeof given.url !== 'string' || !given.url) {
    throw new BadReplication('Missing replicator database');
  }
  let url;
  try {
    url = new URL(given.url);
  } catch {
    throw new BadReplication('local_endpoints_not_supported');
  }
  if (!/^https?:$/.test(url.protocol)) throw new BadReplication('local_endpoints_not_supported');
  const headers = { ...(given.headers || {}) };
  let credentials = null;
  if (url.username) credentials = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
  const basic = given.auth && given.auth.basic;
  if (basic && typeof basic.username === 'string') credentials = [basic.username, String(basic.password)];
  if (credentials) headers.Authorization = `Basic ${Buffer.from(credentials.join(':')).toString('base64')}`;
  url.username = '';
  url.password = '';
  return { url: `${url.href.replace(/\/+$/, '')}/`, headers, username: credentials && credentials[0] };
}

function parseReplication(doc) {
  checkFields(doc);
  return { source: parseEndpoint(doc.source), target: parseEndpoint(doc.target) };
}

/** Throws the result of `refuse`, which gets the BadReplication, if a document is not a replication. */
function checkReplication(doc, refuse) {
  try {
    parseReplication(doc);
  } catch (error) {
    if (error instanceof BadReplication) throw refuse(error);
    throw error;
  }
}

/** The id of a replication: the same for the same endpoints and the same selection of documents. */
function replicationId(doc, node) {
  const [source, target] = Object.values(parseReplication(doc)).map(({ url, headers }) => ({ url, headers }));
  const base = crypto
    .createHash('md5')
    .update(
      JSON.stringify([
        node.uuid, source, target, doc.filter || null, doc.doc_ids || null, doc.selector || null, doc.query_params || null,
      ]),
    )
    .digest('hex');
  return `${base}${doc.continuous ? '+continuous' : ''}${doc.create_target ? '+create_target' : ''}`;
}

/** An endpoint without credentials. */
function withoutSecrets(end) {
  const strip = (url) => String(url).replace(/^(https?:\/\/)[^@/]*@/, '$1');
  if (typeof end === 'string') return strip(end);
  if (!end || typeof end !== 'object') return end;
  const { auth, headers, ...rest } = end;
  return { ...rest, url: strip(end.url) };
}

module.exports = { BadReplication, parseEndpoint, parseReplication, checkReplication, replicationId, withoutSecrets };
