// A change is shown before it is made: what would be otherwise, what goes with it. If somebody else was faster, that is
// shown too, and what was typed stays where it is.

import { ask, get } from './api.js';
import { shown } from './diff.js';
import { $, anchor, announce, button, el, freshId } from './dom.js';
import { many, whole } from './format.js';

const dialog = $('#preview');

/** The table that the page shows; whoever loads it keeps it here. */
export const known = { table: null };

let loaded = () => {};

/** Who wants to know when the table was loaded anew. */
export function whenLoaded(call) {
  loaded = call;
}

let asked = 0;
let answered = 0;

export async function load() {
  const number = (asked += 1);
  const table = await get('table');
  // A later question may have been answered first.
  if (number > answered) {
    answered = number;
    known.table = table;
    loaded(table);
  }
  return known.table;
}

/**
 * Shows what a change would make, and makes it when that is wanted. `change`: `{title, method, path, query, body}`. Gives
 * whether it was made. `ground.seen` is the table that it was thought out on, and becomes the one that was shown instead.
 * What is wrong with a rule goes to `ground.failed`, as the problem says it; then the preview is gone, and what was typed can
 * be mended.
 */
export function propose(change, ground = { seen: known.table }) {
  return new Promise((settle) => new Proposal(change, ground, settle).open());
}

class Proposal {
  constructor(change, ground, settle) {
    Object.assign(this, { change, ground, settle, made: false });
  }

  open() {
    // In a form, that is for the form to do.
    const back = document.activeElement.closest('dialog') ? () => {} : anchor();
    this.body = el('div', { 'aria-live': 'polite' }, el('p', { text: 'Asking…' }));
    this.apply = el('button', { type: 'submit', class: 'first', text: 'Apply', disabled: true });
    const cancel = button('Cancel', null, () => dialog.close());
    const form = el(
      'form',
      { method: 'dialog', on: { submit: (event) => this.submit(event) } },
      el('h2', { id: 'preview-title', tabindex: '-1', text: this.change.title }),
      this.body,
      el('div', { class: 'actions' }, cancel, this.apply),
    );
    dialog.replaceChildren(form);
    dialog.onclose = () => {
      back();
      this.settle(this.made);
    };
    dialog.showModal();
    $('#preview-title').focus();
    this.ask();
  }

  async ask() {
    this.apply.disabled = true;
    try {
      this.draw(await this.send({ dry_run: 'true' }));
    } catch (problem) {
      this.refused(problem);
    }
  }

  send(more) {
    const { method, path, query, body } = this.change;
    const volatile = this.volatile?.checked ? 'true' : '';
    return ask(method, path, { query: { ...query, volatile, ...more }, body, version: this.ground.seen?.version });
  }

  draw(outcome) {
    const parts = outcome.differences.map((one) => differing(one));
    if (!parts.length) parts.push(el('p', { text: 'The rules stay as they are.' }));
    const list = (title, items) =>
      items.length && parts.push(el('h3', { text: title }), el('ul', {}, ...items.map((text) => el('li', { text }))));
    list('Warnings', outcome.warnings);
    list('Destinations that come', outcome.destinations_added);
    list('Destinations that go', outcome.destinations_removed.map((id) => withBacklog(id, outcome.backlog)));
    if (outcome.destinations_removed.length) parts.push(this.choice(outcome.backlog.length > 0));
    parts.push(this.untilRestart());
    this.body.replaceChildren(...parts);
    this.apply.disabled = false;
    this.apply.focus();
  }

  /** What is to become of the lines of destinations that go. There may be some later though there are none now. */
  choice(needed) {
    const name = freshId();
    const option = ([value, words]) => {
      const input = el('input', { type: 'radio', name, value, required: needed });
      return el('label', { class: 'option' }, input, el('span', {}, el('b', { text: value || 'ask' }), ` – ${words}`));
    };
    const options = [
      ['drain', 'deliver them first, until stop_timeout; keep the rest'],
      ['keep', 'leave them in the spool, for a destination with the same id'],
      ['discard', 'drop them, and count them'],
    ];
    this.backlog = el('fieldset', {}, el('legend', { text: 'Their lines' }), ...options.map(option));
    if (!needed) this.backlog.append(el('p', { class: 'hint', text: 'There are none now: no answer is needed.' }));
    return this.backlog;
  }

  untilRestart() {
    if (!this.volatile) this.volatile = el('input', { type: 'checkbox' });
    return el('label', { class: 'option' }, this.volatile, el('span', { text: 'Only until the next restart (volatile)' }));
  }

  async submit(event) {
    event.preventDefault();
    this.apply.disabled = true;
    const backlog = this.backlog?.querySelector('input:checked')?.value;
    try {
      const outcome = await this.send({ backlog });
      this.made = true;
      // The lists are brought up to date first, so that the focus goes back to what is still there.
      await load().catch(() => {});
      dialog.close();
      const undo = outcome.id === null ? null : () => undoChange(outcome.id);
      announce(`Done: ${this.change.title}.`, undo);
      document.dispatchEvent(new Event('changed'));
    } catch (problem) {
      this.refused(problem);
    }
  }

  refused(problem) {
    if (problem.status === 412) {
      this.stale();
      return;
    }
    if (problem.status === 422 && this.ground.failed) {
      dialog.close();
      this.ground.failed(problem);
      return;
    }
    const parts = [el('p', { class: 'notice bad', role: 'alert', text: problem.message })];
    if (problem.errors.length) {
      parts.push(el('ul', {}, ...problem.errors.map((one) => el('li', { text: `${one.key}: ${one.message}` }))));
    }
    if (problem.backlog.length) {
      parts.push(el('ul', {}, ...problem.backlog.map((one) => el('li', { text: withBacklog(one.destination, [one]) }))));
      parts.push(this.choice(true));
    }
    this.body.replaceChildren(...parts);
    const again = problem.backlog.length > 0 || problem.status === 503 || problem.status === 0;
    if (problem.status === 503) this.body.append(this.untilRestart());
    this.apply.disabled = !again;
    (again ? this.apply : $('.actions button', dialog)).focus();
  }

  /** Somebody else changed the table: what they did is shown, and the change can be asked for on top of it. */
  async stale() {
    const before = this.ground.seen;
    let now;
    try {
      now = await load();
    } catch (problem) {
      this.refused(problem);
      return;
    }
    this.ground.seen = now;
    const again = button('Show my change on the new table', null, () => this.ask());
    const changed = differences(before, now);
    this.body.replaceChildren(
      el('p', { class: 'notice bad', role: 'alert' }, 'Somebody else changed the table meanwhile. Nothing was changed by you; what you typed is still here.'),
      el('h3', { text: 'What they changed' }),
      ...(changed.length ? changed.map((one) => differing(one)) : [el('p', { text: 'The order of the rules.' })]),
      el('p', {}, again),
    );
    again.focus();
  }
}

/** What the change of this number did is undone, after a look at it. */
export function undoChange(id) {
  return propose({ title: `Undo change ${id}`, method: 'POST', path: `history/${id}/undo` });
}

function withBacklog(id, backlog) {
  const one = backlog.find((of) => of.destination === id);
  if (!one) return `${id}: it has no lines`;
  return `${id}: ${many(one.queued, 'line')} queued, ${whole(one.spooled)} spooled`;
}

function differing({ kind, key, before, after }) {
  const what =
    before === null ? 'comes' : after === null ? 'goes' : before === after ? 'gets another place' : 'changes';
  const title = el('h3', {}, `${kind} `, el('code', { text: key }), ` ${what}`);
  return el('div', { class: 'difference' }, title, before === after ? null : shown(before, after));
}

function differences(before, now) {
  const by = (table) => new Map((table?.rules || []).map((rule) => [`${rule.kind} ${rule.key}`, rule]));
  const [old, young] = [by(before), by(now)];
  const all = [];
  for (const [name, rule] of old) {
    const after = young.get(name)?.toml ?? null;
    if (after !== rule.toml) all.push({ kind: rule.kind, key: rule.key, before: rule.toml, after });
  }
  for (const [name, rule] of young) {
    if (!old.has(name)) all.push({ kind: rule.kind, key: rule.key, before: null, after: rule.toml });
  }
  return all.slice(0, 20);
}
