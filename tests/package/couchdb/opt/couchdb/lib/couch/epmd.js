// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
// SPDX-License-Identifier: GPL-3.0-or-later

/*
 * Erlang's port mapper as far as starting a node meets it: it binds each address of ERL_EPMD_ADDRESS and the loopback address, one
 * after the other, and ends when one of them is taken. An empty variable means all addresses, with one bind.
 * https://www.erlang.org/doc/apps/erts/epmd_cmd.html
 *
 * With --register: sees whether one runs, else starts one, and exits with 0 when it answers.
 */

'use strict';

const { spawn } = require('node:child_process');
const net = require('node:net');

const PORT = 4369;
const LOOPBACK = '127.0.0.1';

function listen(address) {
  return new Promise((resolve, reject) => {
    net.createServer((socket) => socket.end()).on('error', reject).listen({ port: PORT, host: address }, resolve);
  });
}

function answers() {
  return new Promise((resolve) => {
    const socket = net.connect(PORT, LOOPBACK);
    socket.on('connect', () => { socket.destroy(); resolve(true); });
    socket.on('error', () => resolve(false));
  });
}

async function serve() {
  const listed = (process.env.ERL_EPMD_ADDRESS || '').split(/[\s,]+/).filter(Boolean);
  const addresses = listed.length ? [...new Set([...listed, LOOPBACK])] : ['0.0.0.0'];
  for (const address of addresses) {
    try {
      await listen(address);
    } catch (error) {
      console.error(error.code === 'EADDRINUSE'
        ? `epmd: there is already a epmd running at port ${PORT}`
        : `epmd: failed to bind on address ${address}: ${error.code}`);
      process.exit(1);
    }
  }
}

async function register() {
  if (await answers()) return;
  const epmd = spawn(process.execPath, [__filename], { detached: true, stdio: ['ignore', 'inherit', 'inherit'] });
  epmd.on('exit', () => process.exit(1));
  const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
  for (let tries = 0; tries < 300; tries++) {
    await pause(100);
    if (await answers()) {
      // It answers on its first address before it binds the next.
      await pause(500);
      process.exit(0);
    }
  }
  process.exit(1);
}

if (process.argv.includes('--register')) register(); else serve();
