// What the last 30 minutes were like: a point each 10 seconds, in rings of a fixed length. Nothing here grows.

export const POINTS = 180;
export const STEP_MS = 10_000;

/** How much of an old average a second leaves. */
const FADE = 0.8;

class Ring {
  constructor() {
    this.points = new Float32Array(POINTS).fill(NaN);
  }

  forget(slot) {
    this.points[slot] = NaN;
  }

  /** In order, the newest last. */
  inOrder(slot) {
    const all = new Float32Array(POINTS);
    for (let i = 0; i < POINTS; i += 1) all[i] = this.points[(slot + 1 + i) % POINTS];
    return all;
  }
}

/** What is remembered of one destination, or of all inputs. */
class Track {
  constructor(names) {
    this.rings = Object.fromEntries(names.map((name) => [name, new Ring()]));
    this.sum = {};
    this.seen = 0;
  }

  /** A second's values: a point is the mean of its seconds. */
  add(slot, values) {
    this.seen += 1;
    for (const [name, value] of Object.entries(values)) {
      this.sum[name] = (this.sum[name] || 0) + value;
      this.rings[name].points[slot] = this.sum[name] / this.seen;
    }
  }

  turn(slots) {
    this.sum = {};
    this.seen = 0;
    for (const slot of slots) for (const ring of Object.values(this.rings)) ring.forget(slot);
  }
}

/** Rates and charts, of one view of the relay after the other. */
export class Series {
  constructor() {
    this.tracks = new Map();
    this.totals = new Track(['in', 'rejected', 'dropped']);
    this.last = null;
    this.point = null;
    this.rates = { in: NaN, routed: NaN, rejected: NaN, dropped: NaN, of: new Map(), listeners: new Map() };
  }

  get slot() {
    return this.point === null ? 0 : this.point % POINTS;
  }

  /** The points of a destination, by name; `null`: it isn't known. */
  of(id, name) {
    return this.tracks.get(id)?.rings[name].inOrder(this.slot) ?? null;
  }

  /** Takes a view of that time. */
  add(view, now) {
    // A clock that was set back: as on the server, all begins anew.
    if (this.point !== null && now < this.last.at - STEP_MS) Object.assign(this, new Series());
    this.turnTo(Math.floor(now / STEP_MS));
    const seconds = this.last ? (now - this.last.at) / 1000 : 0;
    const flows = flowsOf(view);
    if (this.last && seconds > 0.05) this.count(flows, this.last.flows, seconds);
    this.last = { at: now, flows };
  }

  count(flows, before, seconds) {
    const per = (name) => Math.max(0, flows[name] - before[name]) / seconds;
    for (const name of ['in', 'routed', 'rejected', 'dropped']) this.rates[name] = per(name);
    this.totals.add(this.slot, { in: per('in'), rejected: per('rejected'), dropped: per('dropped') });
    const { of, listeners } = this.rates;
    for (const [id, flow] of flows.of) {
      const old = before.of.get(id) || flow;
      const known = of.get(id) || { out: 0, given: 0, dropped: 0, draining: 0, seen: 0 };
      of.set(id, known);
      known.out = Math.max(0, flow.out - old.out) / seconds;
      known.given = Math.max(0, flow.given - old.given) / seconds;
      known.dropped = Math.max(0, flow.dropped - old.dropped) / seconds;
      const falls = (old.backlog - flow.backlog) / seconds;
      known.draining = known.seen > 0 ? known.draining * FADE + falls * (1 - FADE) : falls;
      known.seen += 1;
      let track = this.tracks.get(id);
      if (!track) this.tracks.set(id, (track = new Track(['rate', 'backlog'])));
      track.add(this.slot, { rate: known.out, backlog: flow.backlog });
    }
    for (const id of this.tracks.keys()) {
      if (!flows.of.has(id)) {
        this.tracks.delete(id);
        of.delete(id);
      }
    }
    listeners.clear();
    for (const [name, lines] of flows.listeners) {
      listeners.set(name, Math.max(0, lines - (before.listeners.get(name) ?? lines)) / seconds);
    }
  }

  turnTo(point) {
    if (this.point !== null && point > this.point) {
      const first = Math.max(this.point + 1, point - POINTS + 1);
      const slots = [];
      for (let at = first; at <= point; at += 1) slots.push(at % POINTS);
      this.totals.turn(slots);
      for (const track of this.tracks.values()) track.turn(slots);
    }
    if (this.point === null || point > this.point) this.point = point;
  }

  /** Lays what the server remembers, as GET charts has it, under what was seen here. */
  remember({ start, step, totals, destinations }) {
    const lay = (ring, points) => {
      points.forEach((value, at) => {
        // A point is of the time before it was taken.
        const point = Math.floor(((start + (at - 0.5) * step) * 1000) / STEP_MS);
        const back = this.point - point;
        const slot = ((point % POINTS) + POINTS) % POINTS;
        if (value !== null && back > 0 && back < POINTS && Number.isNaN(ring.points[slot])) ring.points[slot] = value;
      });
    };
    for (const name of ['in', 'rejected', 'dropped']) lay(this.totals.rings[name], totals[name]);
    for (const { id, acknowledged, queued, spooled } of destinations) {
      const track = this.tracks.get(id);
      if (!track) continue;
      lay(track.rings.rate, acknowledged);
      lay(track.rings.backlog, queued.map((lines, at) => (lines === null ? null : lines + (spooled[at] || 0))));
    }
  }
}

const sum = (counts) => Object.values(counts || {}).reduce((all, one) => all + one, 0);

function flowsOf(view) {
  const of = new Map();
  let dropped = 0;
  for (const one of view.destinations) {
    const gone = sum(one.dropped);
    dropped += gone;
    of.set(one.id, { out: one.acknowledged, given: one.given, dropped: gone, backlog: one.queued + one.spooled });
  }
  return {
    in: view.totals.in,
    routed: view.totals.routed,
    rejected: sum(view.totals.rejected),
    dropped,
    of,
    listeners: new Map(view.listeners.map((one) => [one.address, one.in])),
  };
}
