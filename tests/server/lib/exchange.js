// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/* One request, decoded as CouchDB does, and its answer. */

'use strict';

const crypto = require('node:crypto');
const zlib = require('node:zlib');
const { HttpError, badRequest } = require('./errors');

const LARGEST_BODY = 256 * 1024 * 1024;

/** Percent-encodes as CouchDB does in Location headers: colons stay, tildes and brackets do not. */
function encode(text) {
  return encodeURIComponent(text)
    .replace(/[!'()*]/g, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/%3A/g, ':');
}

function decode(segment) {
  try {
    return decodeURIComponent(segment.replace(/\+/g, ' '));
  } catch {
    return segment;
  }
}

/** The ETag of an answer without a revision: a digest in base 36. */
function etagOf(text) {
  return BigInt(`0x${crypto.createHash('md5').update(text).digest('hex')}`).toString(36).toUpperCase();
}

/** Parses a body. CouchDB refuses numbers that are too large for a double. */
function parseBody(text) {
  if (!/\d[eE]\+?\d{3}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_key, value) => {
    if (value === Infinity || value === -Infinity) throw new SyntaxError('a number is too large');
    return value;
  });
}

class Exchange {
  constructor(node, request, response) {
    this.node = node;
    this.request = request;
    this.response = response;
    this.method = request.method;
    this.started = process.hrtime.bigint();
    this.user = { name: null, roles: [] };
    this.authenticated = null;
    this.failedLogin = false;
    this.answerHeaders = {};
    const at = request.url.indexOf('?');
    this.rawPath = at < 0 ? request.url : request.url.slice(0, at);
    this.query = new URLSearchParams(at < 0 ? '' : request.url.slice(at + 1));
    this.path = this.rawPath.split('/').slice(1).filter((part, i, all) => part !== '' || (i < all.length - 1 && i > 0)).map(decode);
  }

  /** The method, GET for HEAD: their answers differ only in the body. */
  get verb() {
    return this.method === 'HEAD' ? 'GET' : this.method;
  }

  get isAdmin() {
    return this.user.roles.includes('_admin');
  }

  header(name) {
    return this.request.headers[name];
  }

  /** A URL on the host that the client used, for Location headers. */
  location(path) {
    return `http://${this.header('host') || this.node.address}${path}`;
  }

  async body() {
    if (this._body === undefined) {
      const chunks = [];
      let size = 0;
      for await (const chunk of this.request) {
        size += chunk.length;
        if (size > LARGEST_BODY) throw new HttpError(413, 'too_large', 'the request entity is too large');
        chunks.push(chunk);
      }
      this._body = Buffer.concat(chunks);
      if (/gzip/.test(this.header('content-encoding') || '') && this._body.length) this._body = zlib.gunzipSync(this._body);
    }
    return this._body;
  }

  async json() {
    const text = (await this.body()).toString('utf8');
    try {
      return parseBody(text);
    } catch {
      throw badRequest('invalid UTF-8 JSON');
    }
  }

  async jsonObject(reason = 'Request body must be a JSON object') {
    const value = await this.json();
    if (value === null || typeof value !== 'object' || Array.isArray(value)) throw badRequest(reason);
    return value;
  }

  /** Requires the content type JSON, as CouchDB does to prevent cross-site requests. */
  requireJson() {
    if (!/^application\/json/i.test(this.header('content-type') || '')) {
      throw new HttpError(415, 'bad_content_type', 'Content-Type must be application/json');
    }
  }

  /** A query parameter in JSON. */
  jsonQuery(...names) {
    for (const name of names) {
      if (!this.query.has(name)) continue;
      try {
        return JSON.parse(this.query.get(name));
      } catch {
        throw badRequest('invalid UTF-8 JSON');
      }
    }
    return undefined;
  }

  /** A query parameter that is a word or JSON: `open_revs=all`, `open_revs=[...]`. */
  jsonQueryOrText(name) {
    if (!this.query.has(name)) return undefined;
    const text = this.query.get(name);
    return /^[[{"]/.test(text) ? this.jsonQuery(name) : text;
  }

  send(status, body, headers = {}) {
    this.sendText(status, `${JSON.stringify(body)}\n`, { 'Content-Type': this.jsonType(), ...headers });
  }

  /** Answers with an ETag computed from the answer, or 304 if the client has that answer. */
  sendTagged(status, body, seed = JSON.stringify(body)) {
    const tag = `"${etagOf(seed)}"`;
    if (this.header('if-none-match') === tag) return this.sendText(304, '', { ETag: tag });
    return this.send(status, body, { ETag: tag });
  }

  jsonType() {
    const accept = this.header('accept');
    return !accept || /application\/json|application\/\*|\*\/\*/.test(accept) ? 'application/json' : 'text/plain; charset=utf-8';
  }

  sendText(status, text, headers = {}) {
    const data = Buffer.isBuffer(text) ? text : Buffer.from(text);
    this.head(status, { ...headers, 'Content-Length': data.length });
    this.finished(status);
    this.response.end(this.method === 'HEAD' ? undefined : data);
  }

  head(status, headers = {}) {
    this.response.writeHead(status, {
      'Cache-Control': 'must-revalidate',
      Server: `CouchDB/${this.node.version.version} (Erlang OTP/25)`,
      'X-Couch-Request-ID': this.id(),
      'X-CouchDB-Body-Time': '0',
      ...this.answerHeaders,
      ...headers,
    });
  }

  id() {
    this._id = this._id || crypto.randomBytes(5).toString('hex');
    return this._id;
  }

  sendError(error) {
    if (error.failedLogin) this.failedLogin = true;
    this.send(error.status, error.body(), error.headers);
  }

  /** Logs the exchange once, before the last byte is sent: a client that has the answer finds it in log and journal. */
  finished(status) {
    if (this._finished) return;
    this._finished = true;
    this.status = status;
    this.milliseconds = Number(process.hrtime.bigint() - this.started) / 1e6;
    this.node.exchanged(this);
  }
}

module.exports = { Exchange, encode, etagOf };
