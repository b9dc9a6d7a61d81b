// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The storage: PouchDB, in memory when nothing is to be kept, in LevelDB when a data folder was given.
 *
 * Everything above asks for a database by its storage name, which is never the name a client knows: a database that
 * is deleted and made again is another one, as with CouchDB's shard files.
 */

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const PouchDB = require('pouchdb');

// A replicator and a feed for each of many databases is no leak.
require('node:events').defaultMaxListeners = 0;

class Engine {
  constructor({ directory, persistent }) {
    this.persistent = persistent;
    this.directory = directory;
    PouchDB.plugin(require('pouchdb-find'));
    if (!persistent) PouchDB.plugin(require('pouchdb-adapter-memory'));
    this._open = new Map();
  }

  /** The folder is there from the first database on, as CouchDB's shards/ is. */
  prepare() {
    if (this.persistent) fs.mkdirSync(this.directory, { recursive: true });
  }

  open(id) {
    if (!this._open.has(id)) {
      const name = this.persistent ? path.join(this.directory, id) : id;
      this._open.set(id, new PouchDB(name, { adapter: this.persistent ? 'leveldb' : 'memory' }));
    }
    return this._open.get(id);
  }

  async destroy(id) {
    const database = this.open(id);
    this._open.delete(id);
    await database.destroy();
  }

  async close() {
    await Promise.allSettled([...this._open.values()].map((database) => database.close()));
  }
}

module.exports = { Engine, PouchDB };
