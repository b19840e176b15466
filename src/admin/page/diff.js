// Two texts, line by line: what goes, what comes, what stays.

import { el } from './dom.js';

const MOST = 400;

/** `[sign, line]`, the sign one of `-`, `+` and a blank: the longest common lines stay. */
export function lines(before, after) {
  const a = before ? before.replace(/\n$/, '').split('\n') : [];
  const b = after ? after.replace(/\n$/, '').split('\n') : [];
  if (a.length > MOST || b.length > MOST) return [...a.map((line) => ['-', line]), ...b.map((line) => ['+', line])];
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const all = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      all.push([' ', a[i]]);
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && common[i + 1][j] >= common[i][j + 1])) {
      all.push(['-', a[i]]);
      i += 1;
    } else {
      all.push(['+', b[j]]);
      j += 1;
    }
  }
  return all;
}

const WORDS = { '-': 'removed', '+': 'added', ' ': '' };

/** A difference to look at; who hears it hears which line goes and which comes. */
export function shown(before, after) {
  const rows = lines(before, after).map(([sign, line]) => {
    const tag = sign === '-' ? 'del' : sign === '+' ? 'ins' : 'span';
    const heard = WORDS[sign] ? el('span', { class: 'heard', text: `${WORDS[sign]}: ` }) : null;
    return el(tag, { class: 'line' }, el('span', { 'aria-hidden': 'true', text: `${sign} ` }), heard, line, '\n');
  });
  return el('pre', { class: 'diff', tabindex: '0', 'aria-label': 'Difference' }, ...rows);
}
