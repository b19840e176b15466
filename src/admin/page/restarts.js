// The workers there were, and a button that starts the next one and shows how it takes over.

import { ask } from './api.js';
import { $, button, el, say } from './dom.js';
import { time } from './format.js';
import { live } from './live.js';
import { PagedList } from './list.js';

const dialog = $('#takeover');
let pages;

export function start() {
  const list = el('ol', { class: 'changes', 'aria-label': 'Generations, the newest first' });
  $('#generations').append(list);
  pages = new PagedList(list, { size: 10, what: 'generations', key: (one) => `${one.id} ${one.pid}`, make: row });
  live.each((view) => !$('#history').hidden && pages.show([...view.generations].reverse()));
  $('#restart').addEventListener('click', open);
}

const pause = (us) => `${(us / 1000).toFixed(1)} ms`;

function row() {
  const title = el('b');
  const outcome = el('span', { class: 'badge' });
  const about = el('span', { class: 'about' });
  const node = el('li', { class: 'rule' }, el('div', { class: 'what' }, title, ' ', outcome, ' ', about));
  const update = (one) => {
    say(title, `Generation ${one.id}`);
    say(outcome, one.outcome);
    outcome.className = `badge ${one.outcome.split(':')[0]}`;
    const words = [`${one.reason}, ${time(one.started_at)}`, `process ${one.pid}`];
    if (one.version) words.push(`Baton ${one.version}`);
    if (one.config_hash) words.push(`config ${one.config_hash.slice(0, 8)}`);
    if (one.pause_us !== null && one.pause_us !== undefined) words.push(`paused ${pause(one.pause_us)}`);
    say(about, words.join(' · '));
  };
  return { node, update };
}

function open() {
  const steps = el('ol', { class: 'steps', 'aria-live': 'polite' });
  const first = el('button', { type: 'submit', class: 'first', text: 'Restart now' });
  const close = button('Cancel', null, () => dialog.close());
  const form = el(
    'form',
    { method: 'dialog' },
    el('h2', { id: 'takeover-title', tabindex: '-1', text: 'Restart' }),
    el('p', { text: `Generation ${live.view?.generation ?? '?'} serves. The binary and the config on disk are started as the next one; if they can’t serve, this one goes on.` }),
    steps,
    el('div', { class: 'actions' }, close, first),
  );
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    first.disabled = true;
    close.textContent = 'Close';
    takeOver(steps);
  });
  dialog.replaceChildren(form);
  dialog.showModal();
  first.focus();
}

/** Shows each step as it is seen: what was asked, that the link is gone, which generation answers, what the new one is worth. */
async function takeOver(steps) {
  const began = performance.now();
  const told = new Set();
  const step = (text, state = '') => {
    if (told.has(text)) return;
    told.add(text);
    const at = ((performance.now() - began) / 1000).toFixed(1);
    steps.append(el('li', { class: state }, el('span', { class: 'number', text: `${at} s ` }), text));
  };
  const before = live.view?.generation ?? 0;
  const known = new Set((live.view?.generations || []).map((one) => one.id));
  const look = () => {
    const view = live.view;
    for (const one of view.generations.filter((one) => !known.has(one.id) && one.reason !== 'start')) {
      const [word] = one.outcome.split(':');
      if (word === 'starting') step(`Generation ${one.id} starts as process ${one.pid}`);
      else if (word === 'refused' || word === 'crashed') end(`Generation ${one.id} ${one.outcome}. Generation ${view.generation} goes on.`, 'bad');
      else if (view.generation > before) {
        const paused = one.pause_us === null || one.pause_us === undefined ? '' : `, after a pause of ${pause(one.pause_us)}`;
        end(`Generation ${before} → ${one.id}: it serves${paused}`, 'good');
      }
    }
  };
  const link = () => live.link === 'restarting' && step('The page’s own connection is handed over…');
  const end = (text, state) => {
    step(text, state);
    live.removeEventListener('view', look);
    live.removeEventListener('link', link);
  };
  live.addEventListener('view', look);
  live.addEventListener('link', link);
  dialog.addEventListener('close', () => end('', ''), { once: true });
  try {
    await ask('POST', 'restart');
    step('Asked for.');
  } catch (problem) {
    end(problem.message, 'bad');
  }
}
