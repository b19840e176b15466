// The forms for rules and destinations, and what they make of what is typed.

import { path } from './api.js';
import { $, anchor, button, el, field, select } from './dom.js';
import { known, propose } from './propose.js';

const dialog = $('#form');

export const COLLECTIONS = {
  blocklist: 'blocklist',
  rewriter: 'rewriters',
  aggregation: 'aggregations',
  route: 'routes',
};
export const AN = { blocklist: 'a blocklist rule', rewriter: 'a rewriter', aggregation: 'an aggregation', route: 'a route' };
export const ONE = { blocklist: 'blocklist rule', rewriter: 'rewriter', aggregation: 'aggregation', route: 'route' };

const TYPES = ['sendAllMatch', 'sendFirstMatch', 'consistentHashing', 'consistentHashing-v2', 'carbon_ch', 'fnv1a_ch', 'jump_fnv1a_ch', 'any_of', 'failover', 'roundRobin'];
const FUNCTIONS = ['avg', 'sum', 'count', 'min', 'max', 'last', 'delta', 'derive', 'stdev', 'variance', 'median', 'percentiles'];
const PATTERNS = ['prefix', 'notPrefix', 'sub', 'notSub', 'regex', 'notRegex'];

const text = (key, label = key, hint) => ({ key, label, hint, as: 'text' });
const quantity = (key, label = key, hint) => ({ key, label, hint, as: 'quantity' });
const flag = (key, label = key, hint) => ({ key, label, hint, as: 'flag' });
const patterns = PATTERNS.map((key) => text(key));

const FIELDS = {
  blocklist: [text('rule', 'Rule', 'prefix, notPrefix, sub, notSub, regex or notRegex, a blank and the pattern: “prefix collectd.”')],
  rewriter: [
    text('old', 'Old', 'what is replaced: a text, or a regular expression between slashes'),
    { ...text('new', 'New', 'what stands there instead'), always: true },
    text('not', 'Not', 'names that it leaves alone: a text, or a regular expression between slashes'),
    quantity('max', 'At most', 'how often in a name; -1: always'),
  ],
  aggregation: [
    { key: 'function', label: 'Function', as: 'choice', of: FUNCTIONS },
    ...patterns,
    text('format', 'Name of the result', '$1 or ${1}: the first group of regex'),
    quantity('interval', 'Interval', 'as 60 or 1m'),
    quantity('wait', 'Wait', 'for late points'),
    flag('dropRaw', 'dropRaw', 'lines that it takes go no further'),
    flag('cache'),
  ],
  route: [
    text('key', 'Key', 'its name, of your choice'),
    { key: 'type', label: 'Type', as: 'choice', of: TYPES, usual: 'sendAllMatch' },
    ...patterns,
    { key: 'destinations', label: 'Destinations', as: 'lines', hint: 'one a line: host:port option=value …' },
    quantity('replication', 'replication', 'hashing: copies of each line'),
    flag('hash_tags', 'hash_tags', 'hashing: with tags'),
    flag('dynamic', 'dynamic', 'hashing: the living take over from the dead'),
    quantity('failback', 'failback', 'as 30s'),
  ],
};

/** Opens a form; `draft()` gives the change that is proposed, or throws what is wrong. */
function open(title, parts, draft) {
  const all = el('p', { class: 'notice bad', role: 'alert' });
  all.hidden = true;
  const fail = (problem) => {
    const rest = problem.errors.filter((one) => {
      const name = one.key.split('.').pop();
      const own = parts.find((part) => part.key === name);
      own?.fail(one.message);
      return !own;
    });
    all.textContent = rest.length ? rest.map((one) => `${one.key}: ${one.message}`).join('; ') : '';
    if (!problem.errors.length) all.textContent = problem.message;
    all.hidden = !all.textContent;
    (parts.find((part) => part.control?.getAttribute('aria-invalid') === 'true')?.control || form.elements[0]).focus();
  };
  const submit = async (event) => {
    event.preventDefault();
    for (const part of parts) part.fail?.('');
    all.hidden = true;
    if (await propose(draft(), ground)) dialog.close();
  };
  const ground = { seen: known.table, failed: fail };
  const form = el(
    'form',
    { method: 'dialog', on: { submit } },
    el('h2', { id: 'form-title', text: title }),
    all,
    el('div', { class: 'fields' }, ...parts),
    el('div', { class: 'actions' }, button('Cancel', null, () => dialog.close()), el('button', { type: 'submit', class: 'first', text: 'Preview' })),
  );
  dialog.onclose = anchor();
  dialog.replaceChildren(form);
  dialog.showModal();
  form.querySelector('input, select, textarea').focus();
}

function partOf({ key, label, hint, as, of, usual }, value) {
  let control;
  const plain = { autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', name: key };
  if (as === 'choice') control = select(of, value ?? usual ?? of[0], { name: key });
  else if (as === 'flag') control = select([['', 'default'], ['true', 'true'], ['false', 'false']], value === undefined ? '' : String(value), { name: key });
  else if (as === 'lines') control = el('textarea', { ...plain, rows: '4', value: (value || []).join('\n') });
  else control = el('input', { ...plain, value: value === undefined ? '' : String(value) });
  const part = field(label, control, hint);
  part.key = key;
  part.classList.toggle('wide', as === 'lines' || key === 'rule' || key === 'destination' || key === 'format');
  return part;
}

/** What a control says, as the config file would have it; `undefined`: the default. */
function valueOf({ as, always, usual }, value, was) {
  if (as === 'lines') return value.split('\n').map((line) => line.trim()).filter(Boolean);
  if (value === '' && !always) return undefined;
  if (as === 'flag') return value === 'true';
  if (as === 'quantity' && /^-?\d+$/.test(value)) return Number(value);
  if (as === 'choice' && value === usual && was === undefined) return undefined;
  return value;
}

/** A new rule. */
export function add(kind) {
  rule(kind, null);
}

/** A rule of the table, changed. */
export function edit(kind, key) {
  const found = known.table.rules.find((one) => one.kind === kind && one.key === key);
  if (found) rule(kind, found);
}

/** Of a rule that there is only those keys are sent that were changed here: what others do to the rest stays. */
function rule(kind, old) {
  const spec = old?.spec || {};
  const fields = FIELDS[kind];
  const parts = fields.map((one) => partOf(one, spec[one.key]));
  const place = old ? null : placeParts(kind);
  const draft = () => {
    const body = {};
    fields.forEach((one, at) => {
      const value = valueOf(one, parts[at].control.value, spec[one.key]);
      const same = JSON.stringify(value) === JSON.stringify(spec[one.key] ?? (one.as === 'lines' ? [] : undefined));
      if (old ? !same : value !== undefined) body[one.key] = value ?? null;
    });
    if (old) {
      return { title: `Change the ${ONE[kind]} ${old.key}`, method: 'PATCH', path: path(COLLECTIONS[kind], old.key), body };
    }
    return { title: `Add ${AN[kind]}`, method: 'POST', path: COLLECTIONS[kind], body, query: { place: place.value() } };
  };
  open(old ? `Edit the ${ONE[kind]} ${old.key}` : `Add ${AN[kind]}`, place ? [...parts, ...place.parts] : parts, draft);
}

/** Where a rule is to stand: first, last, or beside another one. */
function placeParts(kind, own) {
  const others = known.table.rules.filter((one) => one.kind === kind && one.key !== own);
  const where = field('Place', select([['last', 'last'], ['first', 'first'], ['before', 'before …'], ['after', 'after …']], 'last'));
  const list = el('datalist', { id: 'keys' }, ...others.slice(0, 1000).map((one) => el('option', { value: one.key })));
  const beside = field('Beside which', el('input', { list: 'keys', autocomplete: 'off', spellcheck: 'false' }));
  beside.append(list);
  const change = () => (beside.hidden = !['before', 'after'].includes(where.control.value));
  where.control.addEventListener('change', change);
  change();
  const value = () => (beside.hidden ? where.control.value : `${where.control.value}:${beside.control.value}`);
  return { parts: [where, beside], value };
}

/** Another place for a rule: a question for where. */
export function moveTo(kind, key) {
  const place = placeParts(kind, key);
  open(`Move the ${ONE[kind]} ${key}`, place.parts, () => moving(kind, key, place.value()));
}

const moving = (kind, key, place) => ({
  title: `Move the ${ONE[kind]} ${key}`,
  method: 'POST',
  path: path(COLLECTIONS[kind], key, 'move'),
  query: { place },
});

/** One place up (-1) or down (1), if there is one. */
export async function step(kind, key, by) {
  const all = known.table.rules.filter((one) => one.kind === kind);
  const other = all[all.findIndex((one) => one.key === key) + by];
  if (other) await propose(moving(kind, key, `${by < 0 ? 'before' : 'after'}:${other.key}`));
}

export function remove(kind, key) {
  return propose({ title: `Delete the ${ONE[kind]} ${key}`, method: 'DELETE', path: path(COLLECTIONS[kind], key) });
}

/** What was changed at run time is forgotten: of one rule, or of all. */
export function reset(kind, key) {
  const title = kind ? `Put the ${ONE[kind]} ${key} back as the file has it` : 'Put all rules back as the file has them';
  return propose({ title, method: 'POST', path: 'reset', body: kind ? { kind, key } : {} });
}

export function addDestination(route) {
  const one = { key: 'destination', label: 'Destination', hint: 'host:port option=value …', as: 'text' };
  const parts = [partOf(one)];
  open(`Add a destination to the route ${route}`, parts, () => ({
    title: `Add a destination to the route ${route}`,
    method: 'POST',
    path: path('routes', route, 'destinations'),
    body: { destination: parts[0].control.value },
  }));
}

const OPTIONS = ['queue', 'resend', 'full', 'spool_max', 'spool_full', 'replay', 'replay_rate', 'replay_from', 'flush', 'reconnect', 'timeout', 'bind', 'pickle', ...PATTERNS];

/** Options of a destination, which keeps its id and its lines: only what is filled in changes. */
export function editDestination(route, destination, id) {
  const parts = [
    partOf({ key: 'address', label: 'Another address', as: 'text', hint: 'empty: the same' }),
    partOf({ key: 'options', label: 'Options', as: 'lines', hint: `one a line: name=value; a name alone: its default. ${OPTIONS.join(', ')}` }, optionsOf(destination)),
  ];
  const before = new Map(optionsOf(destination).map(split));
  open(`Edit the destination ${id}`, parts, () => {
    const now = new Map(valueOf({ as: 'lines' }, parts[1].control.value).map(split));
    const body = {};
    if (parts[0].control.value) body.address = parts[0].control.value;
    for (const [name, value] of now) if (before.get(name) !== value) body[name] = value;
    for (const name of before.keys()) if (!now.has(name)) body[name] = null;
    return { title: `Change the destination ${id}`, method: 'PATCH', path: path('routes', route, 'destinations', id), body };
  });
}

export function removeDestination(route, id) {
  return propose({ title: `Delete the destination ${id} of the route ${route}`, method: 'DELETE', path: path('routes', route, 'destinations', id) });
}

function split(line) {
  const at = line.indexOf('=');
  return at < 0 ? [line, null] : [line.slice(0, at), line.slice(at + 1)];
}

/** The words of a destination string: blanks divide them; a word or a value in quotes may hold some, "" is a quote there. */
export function words(string) {
  const found = string.matchAll(/([^\s="]*=)?"((?:[^"]|"")*)"(?=\s|$)|\S+/g);
  return [...found].map(([all, key, quoted]) => (quoted === undefined ? all : (key || '') + quoted.replaceAll('""', '"')));
}

const optionsOf = (string) => words(string).slice(1).filter((word) => !word.startsWith('id='));

export const idOf = (string) => {
  const all = words(string);
  return all.slice(1).find((word) => word.startsWith('id='))?.slice(3) ?? all[0];
};
