// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * The storage: PouchDB in memory, or in LevelDB with a data directory.
 *
 * Databases are opened by a storage name, which is not the name that clients use: a database that is deleted and created
 * again is another one, as with CouchDB's shard files.
 */

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const PouchDB = require('pouchdb');

// Many replicators and feeds are not a leak.
require('node:events').defaultMaxListeners = 0;

class Engine {
  constructor({ directory, persistent }) {
    this.persistent = persistent;
    this.directory = directory;
    PouchDB.plugin(require('pouchdb-find'));
    if (!persistent) PouchDB.plugin(require('pouchdb-adapter-memory'));
    this._open = new Map();
  }

  /** Creates the directory with the first database, as CouchDB does with shards/. */
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
