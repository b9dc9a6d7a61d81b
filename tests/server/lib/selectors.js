// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/* Mango selectors in CouchDB's normal form: explicit operators, fields pushed down to them, negations resolved. */

'use strict';

const { HttpError } = require('./errors');

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const isText = (value) => typeof value === 'string';

/** The type of an operator's argument; operators without an entry take any. */
const TAKES = {
  $and: Array.isArray, $or: Array.isArray, $nor: Array.isArray, $in: Array.isArray, $nin: Array.isArray, $all: Array.isArray,
  $not: isObject, $elemMatch: isObject, $allMatch: isObject, $keyMapMatch: isObject,
  $exists: (value) => typeof value === 'boolean',
  $type: isText,
  $mod: (value) => Array.isArray(value) && value.length === 2 && value.every(Number.isInteger),
  $regex: (value) => isText(value) && compiles(value),
  $size: (value) => Number.isInteger(value) && value >= 0,
  $text: (value) => ['string', 'number', 'boolean'].includes(typeof value),
  $beginsWith: isText,
};
const ANYTHING = new Set(['$lt', '$lte', '$eq', '$ne', '$gte', '$gt', '$default']);
const UNSUPPORTED = new Set(['$where', '$geoWithin', '$geoIntersects', '$near', '$nearSphere']);
const LISTS = new Set(['$and', '$or', '$nor']);
const INSIDE = new Set(['$elemMatch', '$allMatch', '$keyMapMatch']);
const OPPOSITES = { $lt: '$gte', $lte: '$gt', $eq: '$ne', $in: '$nin', $gte: '$lt', $gt: '$lte', $ne: '$eq', $nin: '$in' };

function compiles(pattern) {
  try {
    return Boolean(new RegExp(pattern));
  } catch {
    return false;
  }
}

/** A JSON value as Erlang prints it: strings as bytes, or as they are if `readable`. */
function erlang(value, readable = false) {
  if (isText(value)) return readable ? `<<${value && `"${value}"`}>>` : `<<${[...Buffer.from(value)].join(',')}>>`;
  if (Array.isArray(value)) return `[${value.map((item) => erlang(item, readable)).join(',')}]`;
  if (!isObject(value)) return String(value);
  return `{[${Object.entries(value).map(([name, item]) => `{${erlang(name, readable)},${erlang(item, readable)}}`).join(',')}]}`;
}

/** The only entry of an object in normal form. */
const only = (node) => Object.entries(node)[0];

function spellOut(condition, version) {
  if (!isObject(condition) || !Object.keys(condition).length) return { $eq: condition };
  const entries = Object.entries(condition);
  if (entries.length > 1) return { $and: entries.map(([name, value]) => spellOut({ [name]: value }, version)) };
  const [[name, value]] = entries;
  if (!name.startsWith('$')) return { [name]: spellOut(value, version) };
  if (UNSUPPORTED.has(name)) throw new HttpError(400, 'not_supported', `Unsupported operator: ${name}`);
  const takes = TAKES[name];
  if ((!takes && !ANYTHING.has(name)) || (name === '$beginsWith' && !version.knowsBeginsWith)) {
    throw new HttpError(400, 'invalid_operator', `Invalid operator: ${name}`);
  }
  if (takes && !takes(value)) throw new HttpError(400, 'bad_arg', `Bad argument for operator ${name}: ${erlang(value)}`);
  if (LISTS.has(name)) return { [name]: value.map((item) => spellOut(item, version)) };
  if (name === '$not' || INSIDE.has(name)) return { [name]: spellOut(value, version) };
  return name === '$text' ? { $default: condition } : condition;
}

function pushDown(node, path = []) {
  const [name, value] = only(node);
  if (LISTS.has(name)) return { [name]: value.map((item) => pushDown(item, path)) };
  if (name === '$not') return { $not: pushDown(value, path) };
  if (INSIDE.has(name)) return { [path.join('.')]: { [name]: pushDown(value) } };
  if (name === '$default') return node;
  return name.startsWith('$') ? { [path.join('.')]: node } : pushDown(value, [...path, name]);
}

function resolve(node) {
  const [name, value] = only(node);
  if (name === '$not') return negate(value);
  if (name === '$nor') return { $and: value.map(negate) };
  return name === '$and' || name === '$or' ? { [name]: value.map(resolve) } : node;
}

function negate(node) {
  const [name, value] = only(node);
  if (name === '$not') return resolve(value);
  if (name === '$nor') return { $or: value.map(resolve) };
  if (name === '$and') return { $or: value.map(negate) };
  if (name === '$or') return { $and: value.map(negate) };
  if (OPPOSITES[name]) return { [OPPOSITES[name]]: value };
  if (name === '$exists') return { $exists: !value };
  return name.startsWith('$') ? { $not: node } : { [name]: negate(value) };
}

/** A selector in CouchDB's normal form. Throws CouchDB's errors. */
function normalise(selector, version) {
  if (!isObject(selector)) {
    throw new HttpError(400, 'invalid_selector_json', `Selector must be a JSON object, not: ${erlang(selector)}`);
  }
  if (!Object.keys(selector).length) return {};
  const normal = resolve(pushDown(spellOut(selector, version)));
  if (only(normal)[0] === '') {
    throw new HttpError(400, 'invalid_selector', 'One or more conditions is missing a field name.');
  }
  return normal;
}

module.exports = { normalise, erlang };
