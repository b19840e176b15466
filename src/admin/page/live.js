// The relay as it is now, each second: by server-sent events, or by asking when those fail. Both outlive a restart. A page
// that isn't seen does neither: a browser has six connections to a server, for all of its tabs.

import { get } from './api.js';
import { whileSeen } from './dom.js';
import { STEP_MS, Series } from './series.js';

/** Between two questions. */
const POLL_MS = 1000;
/** How long after a failure events are tried again. */
const RETRY_MS = 5_000;
/** A restart takes a moment: what isn't there after so long has gone. */
const GONE_MS = 10_000;

class Live extends EventTarget {
  constructor() {
    super();
    this.view = null;
    this.series = new Series();
    this.link = 'connecting';
    this.stream = null;
    this.retry = null;
    this.poller = null;
    this.missing = false;
    this.giveUp = null;
    this.since = null;
  }

  start() {
    whileSeen(() => this.listen(), () => this.rest());
  }

  /** Calls with each view from now on. */
  each(call) {
    this.addEventListener('view', () => call(this.view, this.series));
    if (this.view) call(this.view, this.series);
  }

  listen() {
    if (this.stream) return;
    clearTimeout(this.retry);
    const stream = new EventSource(new URL('api/v1/events', document.baseURI));
    this.stream = stream;
    stream.addEventListener('status', (event) => {
      this.stopPolling();
      this.take(JSON.parse(event.data));
      this.say('live');
    });
    stream.addEventListener('table', () => this.dispatchEvent(new Event('table')));
    stream.addEventListener('restarting', () => this.say('restarting'));
    stream.addEventListener('error', () => {
      if (stream.readyState !== EventSource.CLOSED) {
        this.say('restarting');
        return;
      }
      this.stream = null;
      this.poll();
      this.retry = setTimeout(() => this.listen(), RETRY_MS);
    });
  }

  /** Nobody looks. */
  rest() {
    this.stream?.close();
    this.stream = null;
    clearTimeout(this.retry);
    this.stopPolling();
    this.missing = true;
    this.say('connecting');
  }

  async poll() {
    if (this.poller) return;
    const own = {};
    this.poller = own;
    while (this.poller === own) {
      try {
        const view = await get('status');
        if (this.poller !== own) return;
        this.take(view);
        this.say('polling');
      } catch (problem) {
        // The token isn't known any more: the relay shows where it is asked for.
        if (problem.status === 401) location.reload();
        if (this.poller === own) this.say('restarting');
      }
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
  }

  stopPolling() {
    this.poller = null;
  }

  /** The time is the server's: the reader's clock may be another. */
  take(view) {
    const last = this.view;
    this.view = view;
    this.series.add(view, view.now_ms);
    this.dispatchEvent(new Event('view'));
    const missed = this.missing && last && view.now_ms - last.now_ms > STEP_MS;
    this.missing = false;
    if (missed) this.dispatchEvent(new Event('missed'));
  }

  say(link) {
    if (this.link === link || (this.link === 'gone' && link === 'restarting')) return;
    this.link = link;
    clearTimeout(this.giveUp);
    if (link === 'restarting') {
      this.since = new Date();
      this.giveUp = setTimeout(() => this.say('gone'), GONE_MS);
    }
    this.dispatchEvent(new Event('link'));
  }
}

export const live = new Live();
