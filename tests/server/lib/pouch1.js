// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * Changes within express-pouchdb for the 1.x dialect. Load it before express-pouchdb.
 */

'use strict';

const replicator = require('pouchdb-replicator');
const storage = require('express-pouchdb/lib/create-or-delete-dbs');
const systemDatabases = require('pouchdb-system-db');
const wrappers = require('pouchdb-wrappers');
const { PouchDB } = require('./engine');

/** Runs actions one after the other, also after failures. */
function inTurn() {
  let last = Promise.resolve();
  return (action) => {
    const done = last.then(action);
    last = done.catch(() => {});
    return done;
  };
}

/* Opening and deleting databases: after a failure the original opens no database any more. */

const oneDatabase = inTurn();
const opened = new Map();

storage.getOrCreateDB = (Database, name) =>
  oneDatabase(() => {
    if (!opened.has(name)) opened.set(name, new Database(name));
    return opened.get(name);
  });

storage.deleteDB = (Database, name, options) =>
  oneDatabase(async () => {
    const database = opened.get(name);
    if (!database) return Database.destroy(name, options);
    opened.delete(name);
    return database.destroy(options);
  });

/** Calls `start(database)` instead of express-pouchdb's own replicator. */
function watchReplicatorBy(start) {
  replicator.startReplicatorDaemon = async function watch() {
    await start(this);
  };
}

/* Permission checks read the database from where it is set. */

const { installSystemDBProtection: protect } = systemDatabases;
systemDatabases.installSystemDBProtection = (database) => {
  protect(database);
  for (const method of Object.values(database)) {
    const handlers = (typeof method === 'function' && method._handlers) || [];
    handlers.forEach((handler, index) => {
      handlers[index] = (original, args) => handler(original, Object.assign(args, { db: args.base }));
    });
  }
};

/* A request for no documents gets none, at once. */

const { bulkGet } = PouchDB.prototype;
PouchDB.prototype.bulkGet = function bulkGetAny(options, ...rest) {
  const [callback] = rest;
  if (options.docs.length) return bulkGet.call(this, options, ...rest);
  const answer = Promise.resolve({ results: [] });
  if (callback) answer.then((nothing) => callback(null, nothing));
  return answer;
};

/** Writes settings one after the other, so that none is lost. */
function saveInTurn(config) {
  const oneSave = inTurn();
  for (const name of ['set', 'delete']) {
    const change = config[name];
    config[name] = (section, key, ...rest) => {
      const told = rest.pop();
      const changed = oneSave(
        () =>
          new Promise((resolve, reject) => {
            change.call(config, section, key, ...rest, (error, before) => (error ? reject(error) : resolve(before)));
          }),
      );
      changed.then((before) => told(null, before), told);
    };
  }
}

/* Database names with a slash, which express-pouchdb drops, get another name in PouchDB. */

const STAND_INS = { '~': '~7', '/': '~2' };
const MEANT = { '~7': '~', '~2': '/' };

/** The name of a database in PouchDB. */
const storedName = (name) => name.replace(/[~/]/g, (letter) => STAND_INS[letter]);

/** The name of a database for clients. */
const toldName = (name) => name.replace(/~[72]/g, (pair) => MEANT[pair]);

/** Database information shows the name for clients. */
function tellNames(application) {
  application.dbWrapper.registerWrapper((name, database, next) => {
    wrappers.installWrapperMethods(database, {
      info: async (original) => {
        const info = await original();
        return { ...info, db_name: toldName(info.db_name) };
      },
    });
    return next();
  });
}

module.exports = { saveInTurn, storage, storedName, tellNames, toldName, watchReplicatorBy };
