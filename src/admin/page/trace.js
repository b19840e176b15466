// "Where does this metric go?", as a tree that can be read.

import { get } from './api.js';
import { $, el } from './dom.js';
import { keep, read } from './hash.js';

const form = $('#trace-form');
const result = $('#trace-result');
let asked = '';
let number = 0;

export function start() {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    keep({ metric: form.elements.metric.value });
    trace();
  });
  window.addEventListener('hashchange', fromAddress);
  fromAddress();
}

function fromAddress() {
  const { section, query } = read();
  const metric = query.get('metric');
  if (section !== 'trace' || !metric || metric === asked) return;
  form.elements.metric.value = metric;
  trace();
}

async function trace() {
  const metric = form.elements.metric.value;
  asked = metric;
  const own = (number += 1);
  let shown;
  try {
    shown = (await get('trace', { metric })).map(tree);
  } catch (problem) {
    shown = [el('p', { class: 'notice bad', text: problem.message })];
  }
  // Only the last question's answer counts, whichever comes last.
  if (own === number) result.replaceChildren(...shown);
}

const ENDS = {
  empty: 'There is nothing in it: it is passed over.',
  rejected: 'It is rejected',
  blocked: 'The blocklist drops it',
  consumed: 'An aggregation takes it, and lets it go no further',
  unrouted: 'No destination takes it.',
  routed: 'It is routed.',
};

function step(word, ...children) {
  return el('li', {}, el('span', { class: 'word', text: word }), ' ', ...children);
}

const code = (text) => el('code', { text });

function tree(trace) {
  const steps = [];
  if (trace.cleaned) steps.push(step('cleaned to', code(trace.cleaned)));
  for (const one of trace.rewritten) steps.push(step('rewritten to', code(one.name), ' by ', code(one.by)));
  for (const made of trace.aggregated) {
    const inside = made.refused ? [step('refused', made.refused)] : made.routes.length ? made.routes.map(routed) : [step('unrouted', 'no route matches it')];
    steps.push(step('aggregated in', code(made.name), ' by ', code(made.by), el('ul', {}, ...inside)));
  }
  steps.push(...trace.routes.map(routed));
  const end = [ENDS[trace.outcome] || trace.outcome];
  if (trace.rejected) end.push(`: ${trace.rejected.reason}, ${trace.rejected.text}`);
  if (trace.blocked_by) end.push(': ', code(trace.blocked_by));
  if (trace.consumed_by) end.push(': ', code(trace.consumed_by));
  steps.push(step(trace.outcome, el('b', {}, ...end)));
  return el('div', { class: 'tree' }, el('h3', {}, code(trace.input)), el('ul', {}, ...steps));
}

function routed(route) {
  const inside = route.destinations.map((one) => step('→', code(one.address), one.id === one.address ? null : ` (${one.id})`));
  if (!inside.length) inside.push(step('→', 'nobody'));
  if (route.why) inside.push(step('why', route.why));
  if (route.down.length) inside.push(step('down', route.down.join(', ')));
  return step('route', code(route.key), ` ${route.type}`, el('ul', {}, ...inside));
}
