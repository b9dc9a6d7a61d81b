// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The checks before a document is written: the `validate_doc_update` functions of its database, the form of design
 * documents, and CouchDB's rules for users and replications.
 */

'use strict';

const vm = require('node:vm');
const { HttpError, badRequest, forbidden, unauthorized } = require('./errors');
const passwords = require('./passwords');
const { authenticationDatabase } = require('./auth');
const { checkReplication } = require('./endpoints');

const RESERVED = new Set([
  '_id', '_rev', '_attachments', '_deleted', '_revisions', '_revs_info', '_conflicts', '_deleted_conflicts',
  '_local_seq', '_access',
]);

/** The design document that CouchDB creates in a users database, with the same checks in a function of our own. */
const USERS_DESIGN = {
  _id: '_design/_auth',
  language: 'javascript',
  validate_doc_update: `function (doc, old, user, security) {
    function refuse(reason) { throw { forbidden: reason }; }
    function holds(list, item) { return !!list && list.indexOf(item) >= 0; }
    var admin = holds(user.roles, '_admin') ||
      (!!security && !!security.admins && (holds(security.admins.names, user.name) ||
        user.roles.some(function (role) { return role !== '_admin' && holds(security.admins.roles, role); })));
    if (doc._deleted === true) {
      if (admin || (old && user.name === old.name)) return;
      refuse('Only admins may delete other user docs.');
    }
    if (doc.type !== 'user') refuse('doc.type must be user');
    if (!doc.name) refuse('doc.name is required');
    if (!doc.roles) refuse('doc.roles must exist');
    if (!Array.isArray(doc.roles)) refuse('doc.roles must be an array');
    doc.roles.forEach(function (role) {
      if (typeof role !== 'string') refuse('doc.roles can only contain strings');
    });
    if (doc._id !== 'org.couchdb.user:' + doc.name) refuse('Doc ID must be of the form org.couchdb.user:name');
    if (old && old.name !== doc.name) refuse('Usernames can not be changed.');
    if (doc.password_scheme === 'pbkdf2') {
      if (typeof doc.iterations !== 'number') refuse('iterations must be a number.');
      if (typeof doc.derived_key !== 'string') refuse('derived_key must be a string.');
    }
    if (!admin) {
      if (old) {
        if (user.name !== doc.name) refuse('You may only update your own user document.');
        if (JSON.stringify(old.roles.slice().sort()) !== JSON.stringify(doc.roles.slice().sort())) {
          refuse('Only _admin may edit roles');
        }
      } else if (doc.roles.length > 0) refuse('Only _admin may set roles');
    }
    doc.roles.forEach(function (role) {
      if (role[0] === '_') refuse('No system roles (starting with underscore) in users db.');
    });
    if (doc.name[0] === '_') refuse('Username may not start with underscore.');
    if (doc.name.indexOf(':') >= 0) refuse('Character ":" is not allowed in usernames.');
  }`,
};

class Validation {
  constructor(database) {
    this.database = database;
    this._functions = null;
  }

  /** Drops the functions after a design document was written. */
  forget() {
    this._functions = null;
  }

  async _load() {
    if (!this._functions) {
      const loading = this.database.pouch
        .allDocs({ startkey: '_design/', endkey: '_design0', include_docs: true })
        .then(({ rows }) => rows.map(({ doc }) => doc).filter((doc) => doc.validate_doc_update).map(compileValidation));
      this._functions = loading;
    }
    return this._functions;
  }

  /** Runs all functions of the database on a document. Throws what they throw, as an answer. */
  async run(exchange, doc) {
    if (/^_(design|local)\//.test(doc._id)) return;
    const functions = await this._load();
    if (!functions.length) return;
    const old = await this.database.pouch.get(doc._id).catch(() => null);
    const user = { db: this.database.name, name: exchange.user.name, roles: exchange.user.roles };
    for (const check of functions) {
      try {
        check(doc, old, user, this.database.security);
      } catch (error) {
        exchange.node.statistics.count('couchdb/query_server/vdu_rejects');
        if (error && error.forbidden !== undefined) throw forbidden(String(error.forbidden));
        if (error && error.unauthorized !== undefined) throw unauthorized(String(error.unauthorized));
        throw new HttpError(500, (error && error.name) || 'unnamed_error', String((error && error.message) || error));
      }
    }
  }
}

function compileValidation(design) {
  const context = vm.createContext({});
  vm.runInContext(`var validate = (${design.validate_doc_update.replace(/;\s*$/, '')});`, context);
  return (doc, old, user, security) => {
    context.given = JSON.stringify([doc, old, user, security]);
    vm.runInContext('validate.apply(null, JSON.parse(given));', context, { timeout: 5000 });
  };
}

/** Checks the form that documents must have in any database. */
function checkForm(doc, database) {
  if (doc === null || typeof doc !== 'object' || Array.isArray(doc)) throw badRequest('Document must be a JSON object');
  const id = doc._id;
  if (id !== undefined && typeof id !== 'string') throw new HttpError(400, 'illegal_docid', 'Document id must be a string');
  if (id === '') throw new HttpError(400, 'illegal_docid', 'Document id must not be empty');
  if (id !== undefined && id.startsWith('_') && !/^_(design|local)\/./.test(id)) {
    throw new HttpError(400, 'illegal_docid', 'Only reserved document ids may start with underscore.');
  }
  if (database.partitioned && id !== undefined && !id.startsWith('_') && !/^[^_:][^:]*:./.test(id)) {
    throw new HttpError(400, 'illegal_docid', 'Doc id must be of form partition:id');
  }
  for (const field of Object.keys(doc)) {
    const known = RESERVED.has(field) || (database.isReplicator && field.startsWith('_replication_'));
    if (field.startsWith('_') && !known) throw new HttpError(400, 'doc_validation', `Bad special document member: ${field}`);
  }
  checkAttachments(doc._attachments);
  if (doc._rev !== undefined && !(typeof doc._rev === 'string' && /^\d+-./.test(doc._rev))) throw badRequest('Invalid rev format');
  if (id !== undefined && id.startsWith('_design/') && !doc._deleted) checkDesign(doc);
}

/** Checks inline attachments: their names and their base64, in which white space is ignored. */
function checkAttachments(attachments) {
  if (attachments === undefined) return;
  if (!isObject(attachments)) throw new HttpError(400, 'doc_validation', 'Bad special document member: _attachments');
  for (const [name, attachment] of Object.entries(attachments)) {
    if (name.startsWith('_')) throw badRequest(`Attachment name '${name}' starts with prohibited character '_'`);
    const { data, stub, follows } = attachment || {};
    if (stub === true || follows === true) continue;
    const packed = typeof data === 'string' && data.replace(/[\t\n\r ]+/g, '');
    if (packed === false || packed.length % 4 || !/^[A-Za-z0-9+/]*={0,2}$/.test(packed)) {
      throw badRequest(`Invalid attachment data for ${name}`);
    }
    attachment.data = packed;
  }
}

const invalid = (reason) => new HttpError(400, 'invalid_design_doc', reason);
const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

function checkDesign(doc) {
  for (const field of ['filters', 'lists', 'shows', 'updates', 'views', 'options']) {
    if (doc[field] !== undefined && !isObject(doc[field])) throw invalid(`\`${field}\` field must have object type`);
  }
  for (const field of ['language', 'validate_doc_update']) {
    if (doc[field] !== undefined && typeof doc[field] !== 'string') throw invalid(`\`${field}\` field must have string type`);
  }
  for (const field of ['filters', 'lists', 'shows', 'updates']) {
    for (const [name, code] of Object.entries(doc[field] || {})) {
      if (typeof code !== 'string' && !isObject(code)) throw invalid(`\`${name}\` in ${field} is not a string`);
    }
  }
  const language = doc.language || 'javascript';
  for (const [name, view] of Object.entries(doc.views || {})) {
    if (name === 'lib') continue;
    if (!isObject(view)) throw invalid(`View \`${name}\` must be an object`);
    if (view.map === undefined) throw invalid(`View \`${name}\` must contain map function`);
    if (language !== 'javascript') continue;
    for (const kind of ['map', 'reduce']) {
      const code = view[kind];
      if (code === undefined) continue;
      if (typeof code !== 'string') throw invalid(`\`${kind}\` field must have string type`);
      if (kind === 'reduce' && code.startsWith('_')) {
        if (!/^_(sum|count|stats|approx_count_distinct|first|last|top_\d+|bottom_\d+)$/.test(code)) {
          throw invalid(`\`${code}\` is not a supported reduce function.`);
        }
        continue;
      }
      checkFunction(code, kind, name, doc.engine);
    }
  }
}

/** Compiles a function as a query server does, with the errors of its JavaScript engine. */
function checkFunction(code, kind, view) {
  const source = code.replace(/;\s*$/, '');
  const failed = (why) =>
    new HttpError(400, 'compilation_error', `Compilation of the ${kind} function in the '${view}' view failed: ${why}`);
  try {
    new vm.Script(`0, ${source}`);
  } catch (error) {
    const problem = new Error(error.message);
    problem.syntax = true;
    problem.code = code;
    problem.words = (tell) => failed(tell(error.message, code));
    throw problem;
  }
  const bare = source.replace(/^(\s|\/\/.*(\n|$)|\/\*[^]*?\*\/)+/, '');
  if (!/^(async\s+)?function\b/.test(bare) && !/=>/.test(bare)) {
    throw failed(`expression does not eval to a function. (${code})`);
  }
}

/** The error message of each JavaScript engine for code that does not compile. */
const ENGINES = {
  quickjs: (message, code) => {
    const token = /^Unexpected token '(.*)'$/.exec(message);
    if (message === 'Unexpected end of input') return `SyntaxError: unexpected token in expression: '' (${code})`;
    return `SyntaxError: ${token ? `unexpected token in expression: '${token[1]}'` : message} (${code})`;
  },
  spidermonkey: (message, code) =>
    `(new Error("Line ${code.split('\n').length}: ${message}", "/opt/couchdb/share/server/main.js", 1)) (${code})`,
};

/** Runs all checks on a document, and returns it as it is stored. */
async function admit(exchange, database, given, { interactive = true } = {}) {
  let doc = given;
  try {
    checkForm(doc, database);
  } catch (error) {
    if (!error.syntax) throw error;
    throw error.words(ENGINES[exchange.node.version.javascript.name]);
  }
  if (/^_(design|local)\//.test(doc._id)) return doc;
  if (interactive && holdsUsers(exchange, database)) doc = await hashUser(exchange, doc);
  if (interactive && database.isReplicator) doc = ownReplication(exchange, doc);
  await database.validation.run(exchange, doc);
  return doc;
}

/** Whether a database holds users, by its name or by `authentication_db`, so that passwords are hashed. */
const holdsUsers = ({ node }, database) => database.isUsers || database.name === authenticationDatabase(node.settings);

/** Hashes a plain password in a user document. */
async function hashUser(exchange, doc) {
  if (doc._deleted || doc.password === undefined || doc.password === null) return doc;
  const { password, ...rest } = doc;
  if (typeof password !== 'string') throw forbidden('Password must be a string');
  const { settings, version } = exchange.node;
  return { ...rest, ...passwords.userFields(await passwords.hash(password, settings, version), version) };
}

/** Sets the owner of a replication document. */
function ownReplication(exchange, doc) {
  if (doc._deleted) return doc;
  checkReplication(doc, ({ said }) => forbidden(said));
  const { name } = exchange.user;
  if (doc.owner === undefined) return name === null ? doc : { ...doc, owner: name };
  if (!exchange.isAdmin && doc.owner !== name) throw forbidden('Can\'t update replication documents from other users.');
  return doc;
}

module.exports = { Validation, USERS_DESIGN, admit };
