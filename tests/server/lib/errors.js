// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/* Errors: an HTTP status with CouchDB's `error` and `reason`. */

'use strict';

class HttpError extends Error {
  constructor(status, error, reason, more = {}) {
    super(reason);
    this.status = status;
    this.error = error;
    this.reason = reason;
    this.headers = more.headers || {};
    this.extra = more.extra || {};
    this.failedLogin = Boolean(more.failedLogin);
  }

  body() {
    return { error: this.error, reason: this.reason, ...this.extra };
  }
}

const badRequest = (reason) => new HttpError(400, 'bad_request', reason);
const forbidden = (reason) => new HttpError(403, 'forbidden', reason);
const notFound = (reason = 'missing') => new HttpError(404, 'not_found', reason);
const unauthorized = (reason, more) => new HttpError(401, 'unauthorized', reason, more);
const conflict = () => new HttpError(409, 'conflict', 'Document update conflict.');
const noDatabase = () => notFound('Database does not exist.');
const methodNotAllowed = (methods) =>
  new HttpError(405, 'method_not_allowed', `Only ${methods} allowed`, { headers: { Allow: methods } });

/** The answer of CouchDB to an exception: 500, with a number that is also in its log. */
const crash = (reason = 'function_clause', error = 'unknown_error') => {
  let ref = 0;
  for (const letter of `${error}:${reason}`) ref = (Math.imul(ref, 31) + letter.charCodeAt(0)) >>> 0;
  return new HttpError(500, error, reason, { extra: { ref } });
};

/** Turns an error of PouchDB into CouchDB's answer. */
function fromPouch(error) {
  if (error instanceof HttpError) return error;
  const status = error.status || 500;
  if (status === 409) return conflict();
  if (status === 404) return notFound(error.reason === 'deleted' ? 'deleted' : 'missing');
  if (status === 400 && error.name === 'bad_request' && /Only reserved/.test(error.message)) {
    return new HttpError(400, 'illegal_docid', error.message);
  }
  if (error.name === 'doc_validation') {
    return new HttpError(400, 'doc_validation', error.message);
  }
  if (!error.status) return new HttpError(500, 'unknown_error', String(error.message || error));
  const reason = typeof error.reason === 'string' && error.reason !== error.name ? error.reason : error.message;
  return new HttpError(status, error.error && error.error !== true ? error.error : error.name, reason || error.message);
}

module.exports = {
  HttpError, badRequest, forbidden, notFound, unauthorized, conflict, noDatabase, methodNotAllowed, crash, fromPouch,
};
