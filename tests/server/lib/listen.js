// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * Listening on a port that stays one's own over a restart.
 *
 * The ports that a system hands out for port 0 are also those that it gives to connections that go out. While a node
 * restarts, one of these may take its port; so free ports are chosen below them.
 */

'use strict';

const LOWEST = 15000;
const HIGHEST = 32000;
const TRIES = 50;
const PAUSE = 100;

function once(server, host, port) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host }, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}

/** Have a server listen; port 0 stands for any that is free. A port that is taken is tried for some seconds. */
async function listenAt(server, host, port) {
  for (let attempt = 1; ; attempt += 1) {
    const wanted = port || LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    try {
      await once(server, host, wanted);
      return;
    } catch (error) {
      if (error.code !== 'EADDRINUSE' || attempt === TRIES) throw error;
    }
    if (port) await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

module.exports = { listenAt };
