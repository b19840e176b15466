// What was changed, by whom, and how it is undone.

import { get } from './api.js';
import { $, button, el, show } from './dom.js';
import { time } from './format.js';
import { live } from './live.js';
import { undoChange } from './propose.js';

const AT_ONCE = 50;
/** So many rows are held; older ones are asked for again by going on. */
const MOST = 500;

const body = el('ol', { class: 'changes', 'aria-label': 'Changes, the newest first' });
const older = $('#older');
let oldest = null;

export function start() {
  $('#changes').append(body);
  older.addEventListener('click', () => more(oldest));
  live.addEventListener('table', () => isOn() && more(null));
  window.addEventListener('hashchange', () => isOn() && more(null));
  document.addEventListener('changed', () => isOn() && more(null));
  if (isOn()) more(null);
}

const isOn = () => location.hash.startsWith('#/history');

async function more(before) {
  let changes;
  try {
    changes = await get('history', { before, limit: AT_ONCE });
  } catch (problem) {
    body.replaceChildren(el('li', { text: problem.message }));
    return;
  }
  if (before === null) body.replaceChildren();
  body.append(...changes.map(row));
  if (!body.children.length) body.append(el('li', { class: 'hint', text: 'Nothing was changed at run time.' }));
  while (body.children.length > MOST) body.firstElementChild.remove();
  oldest = changes.length ? changes[changes.length - 1].id : oldest;
  show(older, changes.length === AT_ONCE);
}

function row(change) {
  const undo = change.can_be_undone ? button('Undo…', `Undo change ${change.id}`, () => undoing(change.id)) : null;
  const about = `${time(change.at)}  by ${change.via} from ${change.peer}: ${change.outcome}`;
  return el(
    'li',
    { class: 'rule' },
    el('div', { class: 'what' }, el('span', { class: 'number', text: `${change.id} ` }), el('code', { text: change.command }), ' ', el('span', { class: 'about', text: about })),
    el('div', { class: 'actions' }, undo),
  );
}

async function undoing(id) {
  if (await undoChange(id)) await more(null);
}
