// A long list, a page of it at a time. Rows are kept by their key and only brought up to date, so that what has the focus
// keeps it, and a second without news costs nothing.

import { anchor, button, el, say, show } from './dom.js';
import { whole } from './format.js';

export class PagedList {
  /** `key(item)` names an item; `make(item)` gives `{node, update(item, at)}`. */
  constructor(container, { size = 25, key, make, what, turned = () => {} }) {
    Object.assign(this, { container, size, key, make, what, turned, rows: new Map(), items: [], page: 0 });
    this.where = el('span', { class: 'where' });
    this.back = button('◀', `Previous page of ${what}`, () => this.turn(this.page - 1));
    this.forth = button('▶', `Next page of ${what}`, () => this.turn(this.page + 1));
    this.pager = el('nav', { class: 'pager', 'aria-label': `Pages of ${what}` }, this.back, this.where, this.forth);
    this.pager.hidden = true;
    container.after(this.pager);
  }

  turn(page) {
    this.page = page;
    this.show(this.items);
    this.turned(this.page);
  }

  /** Turns to the page that has this item, and gives its row. */
  reveal(key) {
    const at = this.items.findIndex((item) => this.key(item) === key);
    if (at < 0) return null;
    this.turn(Math.floor(at / this.size));
    return this.rows.get(key)?.node;
  }

  show(items) {
    this.items = items;
    const pages = Math.max(1, Math.ceil(items.length / this.size));
    this.page = Math.min(Math.max(this.page, 0), pages - 1);
    const first = this.page * this.size;
    const now = items.slice(first, first + this.size);
    const keys = new Set(now.map(this.key));
    // An element that goes or is moved loses the focus.
    const back = this.container.contains(document.activeElement) ? anchor() : () => {};
    for (const [key, row] of this.rows) {
      if (!keys.has(key)) {
        row.node.remove();
        this.rows.delete(key);
      }
    }
    let before = null;
    now.forEach((item, at) => {
      const key = this.key(item);
      let row = this.rows.get(key);
      if (!row) {
        row = this.make(item);
        this.rows.set(key, row);
      }
      row.update(item, first + at);
      const place = before ? before.nextElementSibling : this.container.firstElementChild;
      if (place !== row.node) this.container.insertBefore(row.node, place);
      before = row.node;
    });
    back();
    show(this.pager, pages > 1);
    say(this.where, `${whole(first + 1)}–${whole(first + now.length)} of ${whole(items.length)}`);
    this.back.disabled = this.page === 0;
    this.forth.disabled = this.page === pages - 1;
  }
}
