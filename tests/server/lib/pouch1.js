// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * What must be otherwise within express-pouchdb for the 1.x dialect. To be loaded before express-pouchdb is.
 */

'use strict';

const replicator = require('pouchdb-replicator');
const storage = require('express-pouchdb/lib/create-or-delete-dbs');
const systemDatabases = require('pouchdb-system-db');
const wrappers = require('pouchdb-wrappers');
const { PouchDB } = require('./engine');

/** Runs actions one after the other, whatever becomes of each. */
function inTurn() {
  let last = Promise.resolve();
  return (action) => {
    const done = last.then(action);
    last = done.catch(() => {});
    return done;
  };
}

/* Opening and deleting databases: as it was, but for a failure, after which nothing could be opened any more. */

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

/** Calls `start(database)` where express-pouchdb would start its own watching of the documents of _replicator. */
function watchReplicatorBy(start) {
  replicator.startReplicatorDaemon = async function watch() {
    await start(this);
  };
}

/* Who is no admin and asks for what is an admin's: the check looks for the database where it is not told. */

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

/* To be asked for no documents is to be answered with none, and at once. */

const { bulkGet } = PouchDB.prototype;
PouchDB.prototype.bulkGet = function bulkGetAny(options, ...rest) {
  const [callback] = rest;
  if (options.docs.length) return bulkGet.call(this, options, ...rest);
  const answer = Promise.resolve({ results: [] });
  if (callback) answer.then((nothing) => callback(null, nothing));
  return answer;
};

/** Changes of settings wait for one another: each is written whole, and none is lost. */
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

/* Names of databases: express-pouchdb drops a slash; so there is another name below for one that has a slash. */

const STAND_INS = { '~': '~7', '/': '~2' };
const MEANT = { '~7': '~', '~2': '/' };

/** The name PouchDB knows a database by. */
const storedName = (name) => name.replace(/[~/]/g, (letter) => STAND_INS[letter]);

/** The name clients know it by. */
const toldName = (name) => name.replace(/~[72]/g, (pair) => MEANT[pair]);

/** What a database tells of itself has the name that clients know. */
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
