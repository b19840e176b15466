// The page: which section is looked at, and what stands above all of them.

import * as destinations from './destinations.js';
import { $, say, show } from './dom.js';
import { rate } from './format.js';
import { read } from './hash.js';
import * as changes from './history.js';
import * as inputs from './inputs.js';
import { live } from './live.js';
import * as restarts from './restarts.js';
import * as table from './table.js';
import * as tail from './tail.js';
import * as trace from './trace.js';

const SECTIONS = [...document.querySelectorAll('main > section')].map((section) => section.id);
const LINKS = {
  connecting: 'connecting…',
  live: 'live',
  polling: 'live, by asking each second',
  restarting: 'restarting…',
  gone: 'not reachable since',
};

let first = true;

function turn() {
  const { section } = read();
  const wanted = SECTIONS.includes(section) ? section : SECTIONS[0];
  const before = SECTIONS.find((id) => !$(`#${id}`).hidden);
  for (const id of SECTIONS) show($(`#${id}`), id === wanted);
  for (const link of document.querySelectorAll('nav[aria-label="Sections"] a')) {
    if (link.hash === `#/${wanted}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const title = $(`#${wanted} h2`);
  document.title = `${title.textContent} – Baton`;
  if (!first && before !== wanted) title.focus();
  first = false;
}

function figures(view, { rates }) {
  for (const name of ['in', 'routed', 'rejected', 'dropped']) say($(`#rate-${name}`), rate(rates[name]));
  say($('#generation'), `${view.generation}, Baton ${view.version}`);
}

// The address names a section: it isn't a place to scroll to.
$('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  $('#main').focus();
});
window.addEventListener('hashchange', turn);
turn();
for (const part of [table, destinations, inputs, changes, restarts, trace, tail]) part.start();
live.each(figures);
live.addEventListener('link', () => {
  const since = live.link === 'gone' ? ` ${live.since.toLocaleTimeString()}` : '';
  say($('#link'), LINKS[live.link] + since);
  $('#link').dataset.state = live.link;
});
live.start();
