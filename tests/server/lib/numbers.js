// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * Integers that a JavaScript number can't represent: CouchDB keeps all their digits.
 *
 * `JSON.parse` and `JSON.stringify` are replaced in this process, so that PouchDB keeps them, too. Such a number becomes a
 * `LargeInteger`, which calculates as the nearest double, as in CouchDB's own JavaScript.
 */

'use strict';

const parse = JSON.parse;
const stringify = JSON.stringify;

const MARK = '\u0000integer:';
const WRITTEN = /"\\u0000integer:(-?\d+)"/g;
// Nearly all texts have no such number, and take the fast path.
const CANDIDATE = /[[:,\s]-?\d{16,}(?![\d.eE])|^-?\d{16,}$/;
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

class LargeInteger {
  constructor(digits) {
    this.digits = digits;
    Object.freeze(this);
  }

  valueOf() {
    return Number(this.digits);
  }

  toString() {
    return this.digits;
  }

  toJSON() {
    return MARK + this.digits;
  }
}

const isLarge = (token) => /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token));

function parseExactly(text, reviver) {
  if (typeof text !== 'string' || !CANDIDATE.test(text)) return parse(text, reviver);
  const marked = text.replace(TOKEN, (token) => (isLarge(token) ? `"\\u0000integer:${token}"` : token));
  const revive = (key, value) => (typeof value === 'string' && value.startsWith(MARK) ? new LargeInteger(value.slice(MARK.length)) : value);
  return parse(marked, reviver ? function both(key, value) { return reviver.call(this, key, revive(key, value)); } : revive);
}

function stringifyExactly(value, replacer, space) {
  const text = stringify(value, replacer, space);
  return text === undefined || !text.includes('\\u0000integer:') ? text : text.replace(WRITTEN, '$1');
}

function keepLargeIntegers() {
  JSON.parse = parseExactly;
  JSON.stringify = stringifyExactly;
}

module.exports = { LargeInteger, keepLargeIntegers };
