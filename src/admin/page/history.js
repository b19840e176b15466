// What was changed, by whom, and how it is undone. Rows are kept by their number and only brought up to date, whoever changes
// something: what was loaded stays, and what has the focus keeps it.

import { get } from './api.js';
import { $, anchor, button, el, say, show } from './dom.js';
import { time } from './format.js';
import { live } from './live.js';
import { undoChange } from './propose.js';

const AT_ONCE = 50;
/** So many rows are held: as many as are told at once. What is older `baton history` tells. */
const MOST = 1000;

const body = el('ol', { class: 'changes', 'aria-label': 'Changes, the newest first' });
const note = el('p', { class: 'hint' });
const older = $('#older');
/** By number. */
const rows = new Map();
let asked = 0;
let answered = 0;

export function start() {
  $('#changes').append(body, note);
  older.addEventListener('click', goOn);
  for (const [of, event] of [[live, 'table'], [window, 'hashchange'], [document, 'changed']]) of.addEventListener(event, refresh);
  refresh();
}

const isOn = () => location.hash.startsWith('#/history');

/** All that is shown, as it is now. */
async function refresh() {
  if (!isOn()) return;
  const number = (asked += 1);
  const limit = Math.min(MOST, Math.max(AT_ONCE, rows.size));
  const changes = await load({ limit });
  // A later question may have been answered first.
  if (!changes || number < answered) return;
  answered = number;
  const isAll = changes.length < limit;
  // Nothing may be missing in between.
  const meets = changes.some((change) => rows.has(change.id));
  const there = new Set(changes.map((change) => change.id));
  const gone = [...rows.keys()].filter((id) => (isAll || !meets) && !there.has(id));
  draw(changes, gone);
  if (isAll || !meets) show(older, !isAll);
}

async function goOn() {
  older.disabled = true;
  const changes = await load({ before: Math.min(...rows.keys()), limit: AT_ONCE });
  older.disabled = false;
  if (!changes) return;
  draw(changes, []);
  show(older, changes.length === AT_ONCE && rows.size < MOST);
}

async function load(query) {
  try {
    return await get('history', query);
  } catch (problem) {
    say(note, problem.message);
    return null;
  }
}

function draw(changes, gone) {
  const back = body.contains(document.activeElement) ? anchor() : () => {};
  for (const id of gone) {
    rows.get(id).node.remove();
    rows.delete(id);
  }
  for (const change of changes) {
    if (!rows.has(change.id)) rows.set(change.id, row(change));
    rows.get(change.id).update(change);
  }
  const numbers = [...rows.keys()].sort((a, b) => b - a);
  for (const id of numbers.splice(MOST)) {
    rows.get(id).node.remove();
    rows.delete(id);
  }
  numbers.forEach((id, at) => {
    const { node } = rows.get(id);
    if (body.children[at] !== node) body.insertBefore(node, body.children[at] || null);
  });
  say(note, rows.size ? '' : 'Nothing was changed at run time.');
  back();
}

function row({ id, command }) {
  const undo = button('Undo…', `Undo change ${id}`, () => undoChange(id));
  const about = el('span', { class: 'about' });
  const what = el('div', { class: 'what' }, el('span', { class: 'number', text: `${id} ` }), el('code', { text: command }), ' ', about);
  const node = el('li', { class: 'rule', tabindex: '-1' }, what, el('div', { class: 'actions' }, undo));
  const update = (change) => {
    say(about, `${time(change.at)}  by ${change.via} from ${change.peer}: ${change.outcome}`);
    show(undo, change.can_be_undone);
  };
  return { node, update };
}
