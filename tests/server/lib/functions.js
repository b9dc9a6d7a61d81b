// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * Show, list and update functions of design documents, run by the packages that express-pouchdb uses. Documents that an
 * update function returns pass the same checks as others.
 */

'use strict';

const { HttpError, fromPouch } = require('./errors');
const { write } = require('./documents');

const RUNNERS = {
  _show: () => require('pouchdb-show').show,
  _list: () => require('pouchdb-list').list,
  _update: () => require('pouchdb-update').update,
};

/** The request as a design function sees it. */
async function requestObject(exchange, database) {
  const text = (await exchange.body()).toString('utf8');
  const headers = {};
  const { rawHeaders } = exchange.request;
  for (let i = 0; i < rawHeaders.length; i += 2) headers[rawHeaders[i]] = rawHeaders[i + 1];
  const query = {};
  for (const [name, value] of exchange.query) {
    try {
      query[name] = JSON.parse(value);
    } catch {
      query[name] = value;
    }
  }
  const isForm = /^application\/x-www-form-urlencoded/.test(exchange.header('content-type') || '');
  return {
    body: text || 'undefined',
    cookie: {},
    form: isForm ? Object.fromEntries(new URLSearchParams(text)) : {},
    headers,
    method: exchange.method,
    path: exchange.path,
    requested_path: exchange.path,
    raw_path: exchange.request.url,
    peer: '127.0.0.1',
    query,
    secObj: database.security,
    userCtx: { db: database.name, name: exchange.user.name, roles: exchange.user.roles },
    uuid: exchange.node.uuid32(),
  };
}

async function serve(exchange, database) {
  const [, , design, kind, name, ...rest] = exchange.path;
  if (!RUNNERS[kind]) throw new HttpError(501, 'not_implemented', `The embedded server has no ${kind}.`);
  const pouch = Object.create(database.pouch);
  pouch.put = async (doc) => {
    const [row] = await write(exchange, database, [doc]);
    if (row.failure) throw row.failure;
    return row;
  };
  let answer;
  try {
    answer = await RUNNERS[kind]().call(pouch, [design, name, ...rest].join('/'), await requestObject(exchange, database));
  } catch (error) {
    throw fromPouch(error);
  }
  const body = answer.base64 === undefined ? Buffer.from(String(answer.body), 'utf8') : Buffer.from(answer.base64, 'base64');
  exchange.sendText(answer.code, body, answer.headers);
}

module.exports = { serve };
