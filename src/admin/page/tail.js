// Lines as they flow past, those that the filter lets through. What comes too fast to be read is not drawn line by line.

import { $, el, say, whileSeen } from './dom.js';
import { many } from './format.js';
import { keep, read } from './hash.js';

/** Lines that are held. */
const MOST = 500;
/** Characters of one that are shown. */
const WIDTH = 1000;
/** After a refusal that is none for good. */
const AGAIN_MS = 1000;
/** For the question why it was refused. */
const LIMIT_MS = 10_000;

const form = $('#tail-form');
const lines = $('#tail-lines');
const state = $('#tail-state');
const number = $('#tail-count');
const start_ = $('#tail-start');

let stream = null;
/** While the page isn't seen: what is listened to then. */
let held = null;
let waiting = [];
let seen = 0;
let lost = 0;
let frame = null;

export function start() {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (stream) stop('stopped');
    else begin();
  });
  form.addEventListener('input', () => stream && stop('stopped: the filter is another now'));
  $('#tail-clear').addEventListener('click', () => lines.replaceChildren());
  fill();
  window.addEventListener('hashchange', fill);
  whileSeen(resume, pause);
}

function fill() {
  const { section, query } = read();
  if (section !== 'tail' || stream) return;
  for (const name of ['at', 'by', 'pattern', 'sample']) {
    if (query.has(name)) form.elements[name].value = query.get(name);
  }
}

function begin() {
  const { at, by, pattern, sample } = Object.fromEntries(new FormData(form));
  keep({ at, by, pattern, sample });
  const url = new URL('api/v1/subscribe', document.baseURI);
  url.searchParams.set('at', at);
  if (pattern) url.searchParams.set(by, pattern);
  if (sample && sample !== '1') url.searchParams.set('sample', sample);
  [seen, lost] = [0, 0];
  say(start_, 'Stop');
  say(state, 'connecting…');
  open(url);
}

function open(url) {
  const now = new EventSource(url);
  stream = now;
  now.addEventListener('open', () => tell('running'));
  now.addEventListener('line', (event) => event.data.split('\n').forEach(take));
  now.addEventListener('lost', (event) => {
    lost += Number(event.data) || 0;
    draw();
  });
  now.addEventListener('restarting', () => tell('restarting'));
  now.addEventListener('error', () => {
    tell('restarting');
    if (now.readyState === EventSource.CLOSED) refused(url, now);
  });
}

function pause() {
  if (!stream || held) return;
  held = stream.url;
  stream.close();
  tell('paused while the page isn’t seen');
}

function resume() {
  if (!held) return;
  const url = held;
  held = null;
  show(['(what came while the page wasn’t seen isn’t here)']);
  tell('connecting…');
  open(url);
}

/** An EventSource doesn't say why it was refused: the same is asked for once more, to know. */
async function refused(url, refusedStream) {
  const asking = new AbortController();
  setTimeout(() => asking.abort(), LIMIT_MS);
  let wrong = null;
  try {
    const answer = await fetch(url, { headers: { Accept: 'text/event-stream' }, signal: asking.signal });
    if (!answer.ok) {
      const detail = (await answer.json()).detail || `The server answered ${answer.status}.`;
      if (answer.status === 503) tell(detail);
      else wrong = detail;
    }
    asking.abort();
  } catch {
    // Nobody answers now: a restart is under way.
  }
  const isOver = () => stream !== refusedStream || held;
  if (isOver()) return;
  if (wrong) stop(wrong);
  else setTimeout(() => isOver() || open(url), AGAIN_MS);
}

function stop(text) {
  stream?.close();
  [stream, held] = [null, null];
  say(start_, 'Start');
  say(state, text);
}

/** The word is read out when it changes; the count, which always does, isn't. */
function tell(word) {
  say(state, word);
  counted();
}

function counted() {
  say(number, `${many(seen, 'line')}${lost ? `; ${many(lost, 'line')} came too fast and were lost` : ''}`);
}

function take(line) {
  seen += 1;
  waiting.push(line);
  if (waiting.length > MOST) waiting.shift();
  draw();
}

/** At most ten times a second. */
function draw() {
  frame ??= setTimeout(() => {
    frame = null;
    show(waiting);
    waiting = [];
    if (stream) counted();
  }, 100);
}

function show(more) {
  const isAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  lines.append(...more.map((line) => el('span', { class: 'line', text: `${line.slice(0, WIDTH)}\n` })));
  while (lines.children.length > MOST) lines.firstElementChild.remove();
  if (isAtEnd) lines.scrollTop = lines.scrollHeight;
}
