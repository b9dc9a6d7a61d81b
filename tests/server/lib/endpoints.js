// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/* The two ends of a replication: reading them from a document, showing them without their secrets, naming the pair. */

'use strict';

const crypto = require('node:crypto');

class BadReplication extends Error {}

/** An end as { url, headers }: credentials come from `auth`, from the address, or in `headers`. */
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
  return { url: `${url.href.replace(/\/+$/, '')}/`, headers };
}

function parseReplication(doc) {
  return { source: parseEndpoint(doc.source), target: parseEndpoint(doc.target) };
}

/** Throws what `refuse` makes of the reason when a document cannot be a replication. */
function checkReplication(doc, refuse) {
  try {
    parseReplication(doc);
  } catch (error) {
    if (error instanceof BadReplication) throw refuse(error.message);
    throw error;
  }
}

/** The id of a replication: the same for the same two ends and the same choice of documents. */
function replicationId(doc, node) {
  const { source, target } = parseReplication(doc);
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

/** What a reader who does not own a replication sees of one of its ends. */
function withoutSecrets(end) {
  const strip = (url) => String(url).replace(/^(https?:\/\/)[^@/]*@/, '$1');
  if (typeof end === 'string') return strip(end);
  if (!end || typeof end !== 'object') return end;
  const { auth, headers, ...rest } = end;
  return { ...rest, url: strip(end.url) };
}

module.exports = { BadReplication, parseEndpoint, parseReplication, checkReplication, replicationId, withoutSecrets };
