// The table: the rules in force, kind by kind, and the buttons that change them.

import { $, button, el, say, show } from './dom.js';
import * as forms from './forms.js';
import { many } from './format.js';
import { tie } from './hash.js';
import { PagedList } from './list.js';
import { live } from './live.js';
import { known, load, whenLoaded } from './propose.js';

const TITLES = {
  blocklist: ['Blocklist', 'drops lines'],
  rewriter: ['Rewriters', 'rename'],
  aggregation: ['Aggregations', 'compute'],
  route: ['Routes', 'send'],
};
/** Without events nobody says that the table changed. */
const POLL_MS = 5000;

const filter = $('#table-filter');
const kinds = new Map();

export function start() {
  for (const kind of Object.keys(TITLES)) kinds.set(kind, makeKind(kind));
  $('#table-reset').addEventListener('click', () => forms.reset());
  whenLoaded(draw);
  tie('table', filter, () => known.table && draw());
  filter.addEventListener('submit', (event) => event.preventDefault());
  live.addEventListener('table', reload);
  live.addEventListener('link', () => ['live', 'polling'].includes(live.link) && reload());
  setInterval(() => live.link === 'polling' && !$('#table').hidden && reload(), POLL_MS);
  reload();
}

/** What can't be loaded now is loaded with the next event. */
function reload() {
  load().catch((problem) => !known.table && say($('#table-title + .hint'), problem.message));
}

function makeKind(kind) {
  const [title, what] = TITLES[kind];
  const number = el('span', { class: 'number' });
  const id = `rules-${kind}`;
  const list = el('ol', { class: 'rules', 'aria-labelledby': id });
  const none = el('p', { class: 'hint', text: 'none' });
  const adding = button('Add', `Add ${forms.AN[kind]}`, () => forms.add(kind), { id: `add-${kind}`, disabled: true });
  const head = el('div', { class: 'head' }, el('h3', { id }, `${title} `, number, el('span', { class: 'hint', text: ` ${what}` })), adding);
  $('#rules').append(el('div', { class: 'kind' }, head, list, none));
  const pages = new PagedList(list, {
    size: 50,
    what: title.toLowerCase(),
    key: (item) => `${item.state}\n${item.key}`,
    make: (item) => (item.state === 'in force' ? ruleRow(kind, item) : goneRow(kind, item)),
  });
  return { pages, number, none, adding };
}

/** What the filter lets through: rules in force, then what the file has and isn't. */
function itemsOf(kind) {
  const { q, origin } = Object.fromEntries(new FormData(filter));
  const { rules, removed, left_out: leftOut } = known.table;
  const all = rules.filter((one) => one.kind === kind).map((one, at) => ({ ...one, state: 'in force', at }));
  const gone = (list, state) => list.filter((one) => one.kind === kind).map((one) => ({ ...one, state, origin: state }));
  const items = [...all, ...gone(removed, 'removed'), ...gone(leftOut, 'left out')];
  const marked = (one) => !origin || one.origin === origin || (origin === 'volatile' && one.volatile);
  const shown = items.filter((one) => marked(one) && (!q || `${one.key}\n${one.toml || ''}`.includes(q)));
  return { shown, number: all.length };
}

function draw() {
  for (const [kind, { pages, number, none, adding }] of kinds) {
    adding.disabled = false;
    const { shown, number: all } = itemsOf(kind);
    pages.show(shown);
    say(number, String(all));
    show(none, shown.length === 0);
  }
  const { rules, removed, left_out: leftOut } = known.table;
  const changed = rules.filter((one) => one.origin !== 'file').length + removed.length + leftOut.length;
  const reset = $('#table-reset');
  reset.disabled = changed === 0;
  say(reset, changed ? `Back to the file… (${many(changed, 'difference')})` : 'As the file has it');
}

function badge() {
  const node = el('span', { class: 'badge' });
  const update = ({ origin, volatile }) => {
    say(node, volatile ? `${origin}, volatile` : origin);
    node.className = `badge ${origin.replace(' ', '-')}`;
  };
  return { node, update };
}

function ruleRow(kind, { key }) {
  const mark = badge();
  const name = el('code', { class: 'key', text: key });
  const about = el('span', { class: 'about' });
  const one = `${forms.ONE[kind]} ${key}`;
  const up = button('↑', `Move up: ${one}`, () => move(-1));
  const down = button('↓', `Move down: ${one}`, () => move(1));
  const back = button('Back to the file', `Back to the file: ${one}`, () => forms.reset(kind, key));
  const actions = el(
    'div',
    { class: 'actions' },
    button('Edit', `Edit the ${one}`, () => forms.edit(kind, key)),
    up,
    down,
    button('Move…', `Move the ${one} elsewhere`, () => forms.moveTo(kind, key)),
    back,
    button('Delete', `Delete the ${one}`, () => forms.remove(kind, key)),
  );
  const places = kind === 'route' ? el('ul', { class: 'places', 'aria-label': `Destinations of ${key}` }) : null;
  const node = el('li', { tabindex: '0', 'aria-label': one, on: { keydown } }, el('div', { class: 'rule' }, el('div', { class: 'what' }, name, ' ', mark.node, ' ', about), actions), places);
  const move = async (by) => {
    await forms.step(kind, key, by);
    node.focus();
  };
  function keydown(event) {
    if (!event.altKey || event.target !== node) return;
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (by) {
      event.preventDefault();
      move(by);
    }
  }
  let drawn = '';
  const update = (rule) => {
    mark.update(rule);
    const last = known.table.rules.filter((other) => other.kind === kind).length - 1;
    up.disabled = rule.at === 0;
    down.disabled = rule.at === last;
    show(back, rule.origin === 'changed');
    if (rule.toml === drawn) return;
    drawn = rule.toml;
    say(about, aboutOf(kind, rule.spec));
    places?.replaceChildren(...placesOf(rule));
  };
  return { node, update };
}

/** What a rule says beside its key. */
function aboutOf(kind, spec) {
  if (kind !== 'route') return '';
  const { key, type, destinations, destination, ...rest } = spec;
  const words = Object.entries(rest).map(([name, value]) => `${name}=${value}`);
  return [type || 'sendAllMatch', ...words].join('  ');
}

function placesOf({ key, spec }) {
  const all = (spec.destinations || []).map((text) => {
    const id = forms.idOf(text);
    const actions = el(
      'span',
      { class: 'actions' },
      button('Edit', `Edit the destination ${id}`, () => forms.editDestination(key, text, id)),
      button('Delete', `Delete the destination ${id}`, () => forms.removeDestination(key, id)),
    );
    return el('li', {}, el('code', { text }), ' ', actions);
  });
  const adding = button('Add a destination', `Add a destination to the route ${key}`, () => forms.addDestination(key));
  return [...all, el('li', {}, adding)];
}

/** A rule of the file that isn't in force. */
function goneRow(kind, { key, state, reason }) {
  const mark = badge();
  const text = state === 'removed' ? 'Bring back' : 'Forget';
  const back = button(text, `${text}: ${forms.ONE[kind]} ${key}`, () => forms.reset(kind, key));
  const about = reason ? el('span', { class: 'about', text: reason }) : null;
  const what = el('div', { class: 'what' }, el('code', { class: 'key', text: key }), ' ', mark.node, ' ', about);
  const node = el('li', { class: 'gone' }, el('div', { class: 'rule' }, what, el('div', { class: 'actions' }, back)));
  return { node, update: mark.update };
}
