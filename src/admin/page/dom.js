// Elements are made of text, never of markup: what a server says may be the name of a stranger's metric.

/** An element. Of `props`: `on` has listeners, `class`, `text` and properties of their own, all else are attributes. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'on') {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name === 'text') {
      node.textContent = value;
    } else if (name === 'value' || name === 'checked' || name === 'disabled') {
      node[name] = value;
    } else {
      node.setAttribute(name, value === true ? '' : value);
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const $ = (selector, root = document) => root.querySelector(selector);

/** Sets a text if it is another: a second without news touches nothing. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Shows or hides. */
export function show(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

export function button(text, label, click, more = {}) {
  return el('button', { type: 'button', text, 'aria-label': label, title: label, on: { click }, ...more });
}

/** Calls `begin` whenever the page is seen from now on, `end` when it isn't: hidden, left, or kept for the way back. */
export function whileSeen(begin, end) {
  const look = () => (document.visibilityState === 'hidden' ? end() : begin());
  document.addEventListener('visibilitychange', look);
  window.addEventListener('pagehide', end);
  window.addEventListener('pageshow', (event) => event.persisted && look());
  look();
}

const usable = (node) => node.isConnected && !node.disabled && node.checkVisibility();

/**
 * Remembers what has the focus. What this gives puts it there again or, if that is gone, as near as can be: to what has the
 * same name now, to the row that came to its place, to the button that adds one, to the heading.
 */
export function anchor() {
  const held = document.activeElement;
  const label = held.getAttribute('aria-label');
  const around = [];
  for (let row = held.closest('li'); row; row = row.parentElement.closest('li')) {
    around.push({ row, list: row.parentElement, at: [...row.parentElement.children].indexOf(row) });
  }
  const section = held.closest('section');
  return () => {
    if (document.activeElement === held && usable(held)) return;
    const same = () => [...section.querySelectorAll('[aria-label]')].find((node) => node.getAttribute('aria-label') === label && usable(node));
    const found = (usable(held) && held) || (section && label && same()) || near(around) || $('main > section:not([hidden]) h2');
    found?.focus();
  };
}

function near(around) {
  for (const { row, list, at } of around) {
    const now = usable(row) ? row : list.children[Math.min(at, list.children.length - 1)];
    const all = now ? [now, ...now.querySelectorAll('button')] : [$('.head button', list.parentElement || list)];
    const found = all.find((node) => node?.matches('[tabindex], button') && usable(node));
    if (found) return found;
  }
  return null;
}

/** A text for people who hear the page, and for those who see it. */
export function announce(text, undo) {
  const spot = $('#outcome');
  spot.replaceChildren(el('span', { text }));
  if (undo) spot.append(' ', button('Undo', null, undo), ' ');
  const dismiss = () => {
    spot.replaceChildren();
    $('main > section:not([hidden]) h2').focus();
  };
  spot.append(button('×', 'Dismiss this message', dismiss));
}

let next = 0;
export const freshId = () => `i${(next += 1)}`;

/** A labelled field: the label, the control and what is wrong with it. */
export function field(label, control, hint) {
  control.id ||= freshId();
  const error = el('span', { class: 'error', id: `${control.id}-error` });
  error.hidden = true;
  const below = [error];
  const described = [error.id];
  if (hint) {
    const text = el('span', { class: 'hint', id: `${control.id}-hint`, text: hint });
    below.unshift(text);
    described.unshift(text.id);
  }
  control.setAttribute('aria-describedby', described.join(' '));
  const box = el('div', { class: 'field' }, el('label', { for: control.id, text: label }), control, ...below);
  box.fail = (message) => {
    error.textContent = message || '';
    error.hidden = !message;
    control.setAttribute('aria-invalid', message ? 'true' : 'false');
  };
  box.control = control;
  return box;
}

export function select(options, value, more = {}) {
  const all = options.map((option) => (typeof option === 'string' ? [option, option] : option));
  const node = el('select', more, ...all.map(([of, text]) => el('option', { value: of, text })));
  node.value = value;
  return node;
}

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 120;
const HEIGHT = 24;

/** A small chart of what `draw` is given, the newest at the right. It has no axis: the numbers stand beside it. */
export function sparkline(label) {
  const node = document.createElementNS(SVG, 'svg');
  node.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  node.setAttribute('preserveAspectRatio', 'none');
  node.setAttribute('role', 'img');
  node.setAttribute('class', 'spark');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('vector-effect', 'non-scaling-stroke');
  node.append(path);
  let drawn = '';
  let said = 'nothing known yet';
  const name = () => node.setAttribute('aria-label', `${label}: ${said}`);
  name();
  return {
    node,
    draw(points, words) {
      const shape = shapeOf(points);
      if (shape !== drawn) path.setAttribute('d', (drawn = shape));
      // The shape may be the same with another number: it has no axis.
      if (words !== said) {
        said = words;
        name();
      }
    },
  };
}

function shapeOf(points) {
  let most = 0;
  for (const point of points) if (point > most) most = point;
  const step = WIDTH / Math.max(points.length - 1, 1);
  let shape = '';
  let pen = 'M';
  points.forEach((point, at) => {
    if (Number.isNaN(point)) {
      pen = 'M';
      return;
    }
    const y = most > 0 ? HEIGHT - 1 - (point / most) * (HEIGHT - 2) : HEIGHT - 1;
    shape += `${pen}${(at * step).toFixed(1)} ${y.toFixed(1)}`;
    pen = 'L';
  });
  return shape;
}
