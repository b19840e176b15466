// Destinations as they are now: only those of the page that is looked at are drawn, and of them only what changed.

import { get } from './api.js';
import { $, el, say, show, sparkline } from './dom.js';
import { bytes, count, duration, many, rate } from './format.js';
import { keep, read, tie } from './hash.js';
import { PagedList } from './list.js';
import { live } from './live.js';

const filter = $('#destinations-filter');
const COLUMNS = ['Destination', 'State', 'Lines/s', 'Queued', 'Spooled', 'Last 30 minutes', 'Drained in'];
/** A backlog that falls slower than this, in lines a second, doesn't fall. */
const STILL = 0.5;

let pages;

export function start() {
  const body = el('div', { role: 'rowgroup', class: 'body' });
  const heads = COLUMNS.map((text) => el('span', { role: 'columnheader', text }));
  const head = el('div', { role: 'rowgroup', class: 'columns' }, el('div', { role: 'row', class: 'cells' }, ...heads));
  $('#destinations-table').append(el('div', { role: 'table', class: 'grid destinations', 'aria-label': 'Destinations' }, head, body));
  pages = new PagedList(body, {
    size: 25,
    what: 'destinations',
    key: (one) => one.id,
    make: row,
    turned: (page) => keep({ page: page ? page + 1 : '' }),
  });
  pages.page = Math.max(0, Number(read().query.get('page') || 1) - 1);
  tie('destinations', filter, draw);
  filter.addEventListener('submit', (event) => event.preventDefault());
  live.each(draw);
  remember();
  live.addEventListener('missed', remember);
}

/** What the server remembers of the time in which nobody looked at this page. */
async function remember() {
  let charts;
  try {
    charts = await get('charts');
  } catch {
    return; // Then charts begin now.
  }
  const once = () => {
    // The second view has the first rates, by which destinations are known.
    if (!live.series.tracks.size) return;
    live.removeEventListener('view', once);
    live.series.remember(charts);
  };
  live.addEventListener('view', once);
}

const ORDER = { down: 0, connecting: 1, up: 2 };

function draw() {
  const view = live.view;
  if (!view || $('#destinations').hidden) return;
  const { q, state, sort } = Object.fromEntries(new FormData(filter));
  const fits = (one) =>
    (!state || one.state === state) && (!q || `${one.id}\n${one.address}\n${one.route}`.includes(q));
  const shown = view.destinations.filter(fits);
  const of = live.series.rates.of;
  const by = {
    backlog: (one) => -(one.queued + one.spooled),
    rate: (one) => -(of.get(one.id)?.out || 0),
    state: (one) => ORDER[one.state] ?? 3,
  }[sort];
  if (by) shown.sort((a, b) => by(a) - by(b));
  pages.show(shown);
  say($('#destinations-sum'), summary(view.destinations, shown.length));
}

function summary(all, shown) {
  const states = ['up', 'connecting', 'down'].map((state) => [state, all.filter((one) => one.state === state).length]);
  const words = states.filter(([, number]) => number).map(([state, number]) => `${number} ${state}`);
  const some = shown === all.length ? '' : `; ${shown} shown`;
  return `${many(all.length, 'destination')}: ${words.join(', ') || 'none'}${some}`;
}

const MARKS = { up: '●', connecting: '◐', down: '○' };

function row({ id }) {
  const cell = (label, ...children) => el('span', { role: 'cell', 'data-label': label }, ...children);
  const name = el('code', { text: id });
  const where = el('span', { class: 'about' });
  const mark = el('span', { 'aria-hidden': 'true' });
  const state = el('span');
  const lines = cell('Lines/s');
  const queued = cell('Queued');
  const spooled = cell('Spooled');
  const drained = cell('Drained in');
  const rates = sparkline('lines a second');
  const backlog = sparkline('queued and spooled');
  const charts = cell('Last 30 minutes', el('span', { class: 'twins' }, labelled('lines/s', rates.node), labelled('backlog', backlog.node)));
  const error = el('span', { role: 'cell', class: 'trouble' });
  const node = el(
    'div',
    { role: 'row', class: 'cells' },
    el('span', { role: 'rowheader', class: 'name' }, name, ' ', where),
    cell('State', mark, ' ', state),
    lines, queued, spooled, charts, drained, error,
  );
  const update = (one) => {
    const now = live.series.rates.of.get(id) || { out: NaN, dropped: 0, draining: 0 };
    say(where, `${one.address === id ? '' : `${one.address} `}${one.route ? `route ${one.route}` : 'no route: its rest is delivered'}`);
    say(mark, MARKS[one.state] || '');
    say(state, one.state);
    node.dataset.state = one.state;
    say(lines, rate(now.out));
    say(queued, one.queued ? `${count(one.queued)} (${bytes(one.queued_bytes)})` : '0');
    say(spooled, one.spooled ? `${count(one.spooled)} (${bytes(one.spool.bytes)})` : '0');
    say(drained, drainedIn(one, now.draining));
    const trouble = troubleOf(one, now.dropped);
    say(error, trouble);
    show(error, trouble !== '');
    const chart = (spark, name) => {
      const points = live.series.of(id, name);
      if (points) spark.draw(points, most(points));
    };
    chart(rates, 'rate');
    chart(backlog, 'backlog');
  };
  return { node, update };
}

const labelled = (text, chart) => el('span', { class: 'chart' }, chart, el('span', { class: 'hint', 'aria-hidden': 'true', text }));

function most(points) {
  let [all, last] = [0, NaN];
  for (const point of points) {
    if (point > all) all = point;
    if (!Number.isNaN(point)) last = point;
  }
  return `${count(last || 0)} now, at most ${count(all)} in 30 minutes`;
}

/** Its backlog over the rate at which that falls. */
function drainedIn({ queued, spooled, state }, falling) {
  const backlog = queued + spooled;
  if (!backlog) return 'nothing to drain';
  if (falling > STILL) return duration(backlog / falling);
  if (falling < -STILL) return `grows by ${rate(-falling)}/s`;
  return state === 'up' ? 'stands still' : 'not while it is down';
}

function troubleOf(one, dropped) {
  const words = [];
  if (one.error) words.push(one.error);
  const reasons = Object.entries(one.dropped || {}).map(([reason, lines]) => `${reason} ${count(lines)}`);
  if (reasons.length) words.push(`dropped: ${reasons.join(', ')}${dropped ? ` (${rate(dropped)}/s now)` : ''}`);
  return words.join('; ');
}
