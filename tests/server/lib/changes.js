// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/* The changes feed: normal, longpoll, continuous and eventsource, with filters. */

'use strict';

const { badRequest, fromPouch, methodNotAllowed, notFound } = require('./errors');

const DEFAULT_TIMEOUT = 60000;

/** The number of a sequence: `12-opaque`, or 12 in old versions. */
function numberOf(sequence) {
  if (sequence === null || sequence === undefined) return 0;
  const text = String(sequence).replace(/^"|"$/g, '');
  if (text === 'now') return 'now';
  const found = /^(\d+)(-|$)/.exec(text);
  if (!found) throw badRequest('Malformed sequence supplied in \'since\' parameter.');
  return Number(found[1]);
}

async function optionsOf(exchange, database) {
  const { query } = exchange;
  let body = {};
  if (exchange.verb === 'POST') {
    const text = await exchange.body();
    if (text.length) body = await exchange.jsonObject();
  }
  const since = numberOf(query.get('since') || exchange.header('last-event-id'));
  const options = { since, return_docs: true };
  const isTrue = (name) => query.get(name) === 'true';
  if (isTrue('include_docs')) options.include_docs = true;
  if (isTrue('conflicts')) options.conflicts = true;
  if (isTrue('attachments')) options.attachments = true;
  if (isTrue('descending')) options.descending = true;
  if (query.get('style') === 'all_docs') options.style = 'all_docs';
  if (query.has('limit')) options.limit = Math.max(1, Number(query.get('limit')) || 1);
  const filter = query.get('filter') || body.filter;
  if (filter === '_doc_ids') options.doc_ids = body.doc_ids || exchange.jsonQuery('doc_ids') || [];
  else if (filter === '_selector') options.selector = body.selector || {};
  else if (filter === '_design') options.filter = (doc) => doc._id.startsWith('_design/');
  else if (filter === '_view') {
    options.filter = '_view';
    options.view = query.get('view');
  } else if (filter) {
    const [design, name] = filter.split('/');
    const doc = await database.pouch.get(`_design/${design}`).catch((error) => {
      throw fromPouch(error);
    });
    if (!doc.filters || doc.filters[name] === undefined) throw notFound(`missing json key: ${name || 'filters'}`);
    options.filter = filter;
    options.query_params = Object.fromEntries(query);
  } else if (body.doc_ids && !filter) {
    options.doc_ids = body.doc_ids;
  }
  return options;
}

function row(database, change) {
  const { id, seq, changes, deleted, doc } = change;
  const shown = { seq: database.sequence(seq), id, changes };
  if (deleted) shown.deleted = true;
  if (doc) {
    const { _id, _rev, ...rest } = doc;
    shown.doc = { _id, _rev, ...rest };
  }
  return shown;
}

async function serve(exchange, database) {
  if (exchange.verb !== 'GET' && exchange.verb !== 'POST') throw methodNotAllowed('GET,HEAD,POST');
  const feed = exchange.query.get('feed') || 'normal';
  const options = await optionsOf(exchange, database);
  if (feed === 'continuous' || feed === 'eventsource') return stream(exchange, database, options, feed);
  let found = await once(database, options);
  if (feed === 'longpoll' && !found.results.length) {
    if (await somethingNew(exchange, database, { ...options, since: found.last_seq })) {
      found = await once(database, { ...options, since: options.since === 'now' ? found.last_seq : options.since });
    }
  }
  return exchange.send(200, {
    results: found.results.map((change) => row(database, change)),
    last_seq: database.sequence(found.last_seq),
    pending: await pending(database, options, found),
  });
}

async function once(database, options) {
  try {
    const found = await database.pouch.changes(options);
    // Without a limit the whole feed was read, including what the filter left out.
    if (!options.limit || found.results.length < options.limit) {
      const { update_seq: last } = await database.pouch.info();
      if (!options.descending) found.last_seq = Math.max(found.last_seq, found.results.length ? found.last_seq : last);
    }
    return found;
  } catch (error) {
    throw fromPouch(error);
  }
}

async function pending(database, options, found) {
  if (!options.limit || found.results.length < options.limit) return 0;
  const rest = await database.pouch.changes({ ...options, limit: undefined, include_docs: false, since: found.last_seq });
  return rest.results.length;
}

function timing(exchange) {
  const heartbeat = exchange.query.get('heartbeat');
  return {
    timeout: exchange.query.has('timeout') ? Number(exchange.query.get('timeout')) : DEFAULT_TIMEOUT,
    heartbeat: heartbeat === 'true' ? DEFAULT_TIMEOUT : Number(heartbeat) || 0,
  };
}

/** Waits for a change. Returns false if the time is over or the client has closed the connection. */
function somethingNew(exchange, database, options) {
  const { timeout } = timing(exchange);
  return new Promise((resolve) => {
    const live = database.pouch.changes({ ...options, live: true, limit: undefined });
    const settle = (answer) => {
      clearTimeout(timer);
      live.cancel();
      resolve(answer);
    };
    const timer = setTimeout(settle, timeout, false);
    live.on('change', () => settle(true)).on('error', () => settle(false));
    exchange.response.on('close', () => settle(false));
    exchange.node.onceStopped(() => settle(false));
  });
}

function stream(exchange, database, options, feed) {
  const { timeout, heartbeat } = timing(exchange);
  const events = feed === 'eventsource';
  const { response } = exchange;
  exchange.head(200, { 'Content-Type': events ? 'text/event-stream' : 'application/json' });
  if (exchange.method === 'HEAD') {
    exchange.finished(200);
    response.end();
    return undefined;
  }
  response.write(events ? ':\n' : '');
  response.flushHeaders();
  return new Promise((resolve) => {
    let last = options.since === 'now' ? 0 : options.since;
    const { limit } = options;
    let sent = 0;
    const live = database.pouch.changes({ ...options, live: true, return_docs: false, limit: undefined });
    let beat = null;
    let end = null;
    const finish = () => {
      clearInterval(beat);
      clearTimeout(end);
      live.cancel();
      if (!response.writableEnded && !response.destroyed) {
        if (!events) response.write(`${JSON.stringify({ last_seq: database.sequence(last), pending: 0 })}\n`);
        response.end();
      }
      exchange.finished(200);
      resolve();
    };
    const rest = () => {
      clearTimeout(end);
      if (!heartbeat) end = setTimeout(finish, timeout);
    };
    if (heartbeat) beat = setInterval(() => response.write(events ? 'event: heartbeat\ndata: \n\n' : '\n'), heartbeat);
    rest();
    live
      .on('change', (change) => {
        last = change.seq;
        const shown = row(database, change);
        response.write(events ? `data: ${JSON.stringify(shown)}\nid: ${shown.seq}\n\n` : `${JSON.stringify(shown)}\n`);
        sent += 1;
        if (limit && sent >= limit) finish();
        else rest();
      })
      .on('error', finish);
    database.once('destroyed', finish);
    response.on('close', finish);
    exchange.node.onceStopped(finish);
  });
}

module.exports = { serve, numberOf };
