// What comes in, and what of it goes no further: by listener, by reason, with the last samples.

import { get } from './api.js';
import { $, el, say, sparkline } from './dom.js';
import { bytes, count, rate, sum, time } from './format.js';
import { live } from './live.js';
import { PagedList } from './list.js';

/** How often rejected lines are asked for while they are looked at. */
const SAMPLES_MS = 3000;

const charts = {};
const lists = {};
const reasons = $('#rejected-reason');
let number = 0;

export function start() {
  for (const [name, label] of [['in', 'Lines in'], ['rejected', 'Rejected'], ['dropped', 'Dropped']]) {
    const spark = sparkline(`${label} a second`);
    const now = el('b');
    charts[name] = { spark, now };
    $('#inputs-charts').append(el('figure', {}, spark.node, el('figcaption', {}, `${label}, lines/s `, now)));
  }
  lists.listeners = table('#listeners', 'Listeners', ['Listener', 'Lines/s', 'Lines', 'Rejected', 'Blocked', 'Unrouted', 'Connections', 'Bytes'], (one) => one.address);
  lists.samples = table('#rejected', 'The last rejected lines', ['Line', 'Reason', 'From', 'At'], (one) => one.id);
  lists.dropped = table('#dropped', 'Where lines are dropped', ['Where', 'Why', 'Lines'], (one) => one.id);
  reasons.addEventListener('input', samples);
  live.each(draw);
  setInterval(samples, SAMPLES_MS);
  window.addEventListener('hashchange', samples);
  setTimeout(samples, 0);
}

/** A table whose rows are `{cells: […]}`. */
function table(place, label, columns, key) {
  const body = el('div', { role: 'rowgroup', class: 'body' });
  const heads = columns.map((text) => el('span', { role: 'columnheader', text }));
  const head = el('div', { role: 'rowgroup', class: 'columns' }, el('div', { role: 'row', class: 'cells' }, ...heads));
  $(place).append(el('div', { role: 'table', class: `grid of-${columns.length}`, 'aria-label': label }, head, body));
  const make = () => {
    const cells = columns.map((text, at) => el('span', { role: at ? 'cell' : 'rowheader', 'data-label': at ? text : null, class: at ? null : 'name' }));
    return { node: el('div', { role: 'row', class: 'cells' }, ...cells), update: (one) => one.cells.forEach((text, at) => say(cells[at], text)) };
  };
  return new PagedList(body, { size: 25, what: label, key, make });
}

const isOn = () => !$('#inputs').hidden;

function draw(view, series) {
  if (!isOn()) return;
  for (const [name, { spark, now }] of Object.entries(charts)) {
    const points = series.totals.rings[name].inOrder(series.slot);
    spark.draw(points, `${rate(series.rates[name])} now`);
    say(now, rate(series.rates[name]));
  }
  const listeners = view.listeners.filter((one) => one.kind !== 'http' && one.kind !== 'telnet');
  lists.listeners.show(listeners.map((one) => ({
    address: one.address,
    cells: [
      one.address, rate(series.rates.listeners.get(one.address) ?? NaN), count(one.in), count(sum(one.rejected)),
      count(one.blocked), count(one.unrouted), count(one.connections), bytes(one.bytes),
    ],
  })));
  const rejected = Object.entries(view.totals.rejected);
  say($('#rejected-sum'), rejected.length ? rejected.map(([reason, lines]) => `${reason} ${count(lines)}`).join(', ') : 'No line was rejected since the service was started.');
  offer(rejected.map(([reason]) => reason));
  lists.dropped.show(droppedOf(view));
}

/** The reasons there are, in the choice. */
function offer(all) {
  const there = new Set([...reasons.options].map((option) => option.value));
  for (const reason of all) if (!there.has(reason)) reasons.append(el('option', { value: reason, text: reason }));
}

function droppedOf(view) {
  const all = [];
  const add = (where, why, lines) => lines > 0 && all.push({ id: `${where}\n${why}`, lines, cells: [where, why, count(lines)] });
  for (const one of view.blocklist) add(`blocklist: ${one.rule}`, 'blocked', one.blocked);
  add('routes', 'no route takes them', view.totals.unrouted);
  for (const one of view.destinations) {
    for (const [reason, lines] of Object.entries(one.dropped)) add(`destination ${one.id}`, reason, lines);
  }
  for (const one of view.aggregations) {
    for (const [reason, points] of Object.entries(one.refused)) add(`aggregation ${one.aggregation}`, reason, points);
  }
  for (const one of view.listeners) add(one.address, 'by the kernel: datagrams came too fast', one.kernel_dropped);
  if (!all.length) all.push({ id: 'none', lines: 0, cells: ['nothing was dropped', '', ''] });
  return all.sort((a, b) => b.lines - a.lines);
}

async function samples() {
  if (!isOn()) return;
  const own = (number += 1);
  let all;
  try {
    all = await get('rejected', { reason: reasons.value });
  } catch {
    return; // A restart is under way: the next question has an answer.
  }
  // Another reason may be asked for by now.
  if (own !== number) return;
  const seen = new Map();
  const rows = all.reverse().map((one) => {
    const id = `${one.at_ms} ${one.peer} ${one.line}`;
    seen.set(id, (seen.get(id) || 0) + 1);
    const from = one.peer ? `${one.peer} on ${one.listener}` : one.listener;
    return { id: `${id} ${seen.get(id)}`, cells: [one.line, one.reason, from, time(one.at_ms)] };
  });
  lists.samples.show(rows);
}
