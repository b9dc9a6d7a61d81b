// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

/* The statistics of one node: all names of CouchDB, counted where this server does what they count. */

'use strict';

const MOST_SAMPLES = 1024;
const PERCENTILES = [50, 75, 90, 95, 99, 999];

class Statistics {
  constructor(version) {
    this._known = version.statistics();
    this._counters = new Map();
    this._samples = new Map();
  }

  count(name, by = 1) {
    this._counters.set(name, (this._counters.get(name) || 0) + by);
  }

  sample(name, value) {
    const samples = this._samples.get(name) || [];
    samples.push(value);
    if (samples.length > MOST_SAMPLES) samples.shift();
    this._samples.set(name, samples);
  }

  /** The value of a path: one statistic, a tree of them, or null if there is none. */
  read(path, gauges = {}) {
    const prefix = path.join('/');
    if (this._known[prefix]) return this._describe(prefix, gauges);
    const tree = {};
    let found = false;
    for (const name of Object.keys(this._known)) {
      if (prefix && !name.startsWith(`${prefix}/`)) continue;
      found = true;
      const parts = (prefix ? name.slice(prefix.length + 1) : name).split('/');
      let branch = tree;
      for (const part of parts.slice(0, -1)) branch = branch[part] = branch[part] || {};
      branch[parts.at(-1)] = this._describe(name, gauges);
    }
    return found ? tree : null;
  }

  _describe(name, gauges) {
    const [type, desc] = this._known[name];
    if (type === 'histogram') return { value: summarize(this._samples.get(name) || []), type, desc };
    const value = gauges[name] !== undefined ? gauges[name] : this._counters.get(name) || 0;
    return { value, type, desc };
  }

  counter(name) {
    return this._counters.get(name) || 0;
  }

  samples(name) {
    return this._samples.get(name) || [];
  }
}

/** CouchDB's summary of a histogram. */
function summarize(samples) {
  const n = samples.length;
  const sorted = [...samples].sort((a, b) => a - b);
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const at = (fraction) => (n ? sorted[Math.min(n - 1, Math.floor(fraction * n))] : 0);
  const mean = n ? sum(samples) / n : 0;
  const moment = (power) => (n ? sum(samples.map((value) => (value - mean) ** power)) / n : 0);
  const spread = moment(2);
  const positive = sorted.filter((value) => value > 0);
  return {
    n,
    min: n ? sorted[0] : 0,
    max: n ? sorted[n - 1] : 0,
    arithmetic_mean: mean,
    geometric_mean: positive.length ? Math.exp(sum(positive.map(Math.log)) / positive.length) : 0,
    harmonic_mean: positive.length ? positive.length / sum(positive.map((value) => 1 / value)) : 0,
    median: at(0.5),
    variance: n > 1 ? (spread * n) / (n - 1) : 0,
    standard_deviation: n > 1 ? Math.sqrt((spread * n) / (n - 1)) : 0,
    skewness: spread ? moment(3) / spread ** 1.5 : 0,
    kurtosis: spread ? moment(4) / spread ** 2 - 3 : 0,
    percentile: PERCENTILES.map((p) => [p, at(p === 999 ? 0.999 : p / 100)]),
    histogram: [[0, 0]],
  };
}

module.exports = { Statistics, summarize };
