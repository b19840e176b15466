// The relay as it is now, each second: by server-sent events, or by asking when those fail. Both outlive a restart.

import { get } from './api.js';
import { Series } from './series.js';

/** Between two questions. */
const POLL_MS = 1000;
/** How long after a failure events are tried again. */
const RETRY_MS = 5_000;

class Live extends EventTarget {
  constructor() {
    super();
    this.view = null;
    this.series = new Series();
    this.link = 'connecting';
    this.stream = null;
    this.poller = null;
  }

  start() {
    this.listen();
    window.addEventListener('pagehide', () => this.stream?.close());
  }

  /** Calls with each view from now on. */
  each(call) {
    this.addEventListener('view', () => call(this.view, this.series));
    if (this.view) call(this.view, this.series);
  }

  listen() {
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
      this.poll();
      setTimeout(() => this.listen(), RETRY_MS);
    });
  }

  async poll() {
    if (this.poller) return;
    this.poller = setTimeout(() => {}, 0);
    const once = async () => {
      try {
        this.take(await get('status'));
        if (this.poller) this.say('polling');
      } catch (problem) {
        // The token isn't known any more: the relay shows where it is asked for.
        if (problem.status === 401) location.reload();
        if (this.poller) this.say('restarting');
      }
      if (this.poller) this.poller = setTimeout(once, POLL_MS);
    };
    await once();
  }

  stopPolling() {
    clearTimeout(this.poller);
    this.poller = null;
  }

  take(view) {
    this.view = view;
    this.series.add(view, Date.now());
    this.dispatchEvent(new Event('view'));
  }

  say(link) {
    if (this.link === link) return;
    this.link = link;
    this.dispatchEvent(new Event('link'));
  }
}

export const live = new Live();
