// The HTTP API, as the page uses it.

/** A change waits ten seconds for a restart at most. Without an end the page would hang where the browser has no connection left. */
const LIMIT_MS = 30_000;

/** What the server refuses, as RFC 9457 has it. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.error || `the server answered ${status}`);
    this.status = status;
    this.errors = body.errors || [];
    this.backlog = body.backlog || [];
    this.version = body.version;
  }
}

/** A path of the API, its segments escaped. */
export const path = (...segments) => segments.map((one) => encodeURIComponent(one)).join('/');

/** Asks, and gives the answer's JSON. `query`'s empty values are left out; `version` becomes If-Match. */
export async function ask(method, where, { query = {}, body, version } = {}) {
  const url = new URL(`api/v1/${where}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') url.searchParams.set(name, value);
  }
  const headers = { Accept: 'application/json' };
  if (method !== 'GET') headers['X-Baton-Page'] = '1';
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (version) headers['If-Match'] = `"${version}"`;
  let response;
  let text;
  try {
    const signal = AbortSignal.timeout(LIMIT_MS);
    response = await fetch(url, { method, headers, cache: 'no-store', body: body && JSON.stringify(body), signal });
    text = await response.text();
  } catch (error) {
    const late = 'The relay doesn’t answer. Look at what is so before you ask again: the question may have come through.';
    const gone = 'The relay can’t be reached: it may be restarting. Ask again in a moment.';
    throw new Problem(0, { detail: error.name === 'TimeoutError' ? late : gone });
  }
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    answer = { detail: text.slice(0, 500) };
  }
  if (!response.ok) throw new Problem(response.status, answer || {});
  return answer;
}

export const get = (where, query) => ask('GET', where, { query });
