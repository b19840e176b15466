// What is looked at stands behind the # of the address, so that it can be kept, sent and gone back to.

/** `#/table?q=a` → `{section: 'table', query: URLSearchParams}`. */
export function read() {
  const text = location.hash.replace(/^#\/?/, '');
  const at = text.indexOf('?');
  return {
    section: at < 0 ? text : text.slice(0, at),
    query: new URLSearchParams(at < 0 ? '' : text.slice(at + 1)),
  };
}

/** Another state of the same section: without a step in the browser's history. */
export function keep(changes) {
  const { section, query } = read();
  for (const [name, value] of Object.entries(changes)) {
    if (value === '' || value === undefined || value === null) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  const hash = `#/${section}${text ? `?${text}` : ''}`;
  if (hash !== location.hash) history.replaceState(null, '', hash);
}

/** Ties a form's named controls to the address: filled from it, written to it. */
export function tie(section, form, changed) {
  const controls = [...form.elements].filter((control) => control.name);
  const usual = new Map(controls.map((control) => [control.name, control.value]));
  const fill = () => {
    const state = read();
    if (state.section !== section) return;
    for (const control of controls) control.value = state.query.get(control.name) ?? usual.get(control.name);
    changed();
  };
  form.addEventListener('input', () => {
    const state = {};
    for (const control of controls) state[control.name] = control.value === usual.get(control.name) ? '' : control.value;
    keep(state);
    changed();
  });
  window.addEventListener('hashchange', fill);
  fill();
}
