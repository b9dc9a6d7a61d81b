// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/*
 * Listening on a port that the node keeps over a restart.
 *
 * The system assigns the ports for port 0 from the range for outgoing connections. While a node restarts, such a connection
 * may take its port. So free ports are chosen below that range.
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

/** Makes a server listen; port 0 means any free port. Retries a port that is in use for some seconds. */
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
