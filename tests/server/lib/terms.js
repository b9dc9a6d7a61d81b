// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * Settings that are Erlang terms, and those whose wrong value stops CouchDB.
 *
 * Terms are lists and tuples of atoms, numbers and strings, such as `[{backlog, 128}]` or
 * `{chttpd_auth, cookie_authentication_handler}, ...`.
 */

'use strict';

const TOKEN = /\s*(?:([[\]{},])|("(?:[^"\\]|\\.)*")|('(?:[^'\\]|\\.)*'|[a-z][\w@]*)|(-?\d+(?:\.\d+)?)|(<<|>>))/y;

/** Parses terms separated by commas: numbers, { atom }, { string }, { list }, { tuple }. Returns null for other text. */
function parseTerms(text) {
  const source = text.trim().replace(/\.$/, '');
  const tokens = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < source.length) {
    const found = TOKEN.exec(source);
    if (!found) return null;
    const [, sign, string, atom, number] = found;
    if (sign) tokens.push(sign);
    else if (string) tokens.push({ string });
    else if (atom) tokens.push({ atom: atom.replace(/^'|'$/g, '') });
    else if (number) tokens.push(Number(number));
    else return null;
  }
  let at = 0;
  const sequence = (end) => {
    const items = [];
    if (tokens[at] === end) {
      at += 1;
      return items;
    }
    for (;;) {
      const token = tokens[at];
      at += 1;
      if (token === '[') items.push({ list: sequence(']') });
      else if (token === '{') items.push({ tuple: sequence('}') });
      else if (token === undefined || typeof token === 'string') throw new SyntaxError(text);
      else items.push(token);
      const next = tokens[at];
      at += 1;
      if (next === end) return items;
      if (next !== ',') throw new SyntaxError(text);
    }
  };
  try {
    return tokens.length ? sequence(undefined) : null;
  } catch {
    return null;
  }
}

/** Options of a listening socket that CouchDB, or Erlang below it, knows; each takes a number or an atom. */
const SOCKET_OPTIONS = new Map(
  Object.entries({
    backlog: 'number', buffer: 'number', delay_send: 'flag', high_watermark: 'number', keepalive: 'flag', linger: 'any',
    low_watermark: 'number', nodelay: 'flag', priority: 'number', raw: 'any', recbuf: 'number', reuseaddr: 'flag',
    send_timeout: 'any', send_timeout_close: 'flag', sndbuf: 'number', tos: 'number', user_timeout: 'number',
  }),
);
const OF_THE_LISTENER = ['acceptor_pool_size', 'ip', 'loop', 'max', 'name', 'nodelay', 'port', 'recbuf', 'ssl', 'ssl_opts'];

function isOption(term, more) {
  const [name, value] = (term && term.tuple) || [];
  if (!name || !name.atom || term.tuple.length !== 2) return false;
  const kind = SOCKET_OPTIONS.get(name.atom);
  if (kind === undefined) return more.includes(name.atom);
  if (kind === 'number') return Number.isInteger(value);
  return kind === 'any' || ['true', 'false'].includes(value && value.atom);
}

function areOptions(text, more = []) {
  const [terms, ...rest] = parseTerms(text) || [];
  return !rest.length && Boolean(terms && terms.list) && terms.list.every((term) => isOption(term, more));
}

const areHandlers = (text) => {
  const terms = parseTerms(text);
  return terms !== null && terms.every(({ tuple }) => tuple && tuple.length === 2 && tuple.every((item) => item.atom));
};

const AT_ONCE = 'at once';
const AT_START = 'at the next start';

/** setting → which values are right, and when another one stops the server. */
const FATAL = {
  'chttpd/authentication_handlers': [areHandlers, AT_START],
  'chttpd/port': [(text) => /^\d+$/.test(text) && Number(text) < 65536, AT_ONCE],
  'chttpd/server_options': [(text) => areOptions(text, OF_THE_LISTENER), AT_ONCE],
  'chttpd/socket_options': [(text) => areOptions(text), AT_ONCE],
  'couchdb/default_security': [(text) => ['admin_only', 'admin_local', 'everyone'].includes(text), AT_START],
  'uuids/algorithm': [(text) => ['random', 'sequential', 'utc_random', 'utc_id'].includes(text), AT_ONCE],
};

/** When a value stops the server: at once, at the next start, or never (undefined). */
function stopsServer(section, key, value) {
  const [isRight, when] = FATAL[`${section}/${key}`] || [];
  return isRight && !isRight(value) ? when : undefined;
}

/** The first setting that keeps a server from starting, as `section/key: value`; undefined if there is none. */
function keepsFromStarting(settings) {
  for (const name of Object.keys(FATAL)) {
    const [section, key] = name.split('/');
    const value = settings.get(section, key);
    if (value !== undefined && stopsServer(section, key, value)) return `${name}: ${value}`;
  }
  return undefined;
}

module.exports = { AT_ONCE, keepsFromStarting, parseTerms, stopsServer };
