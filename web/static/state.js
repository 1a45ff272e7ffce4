// The state of a page is its URL, so every view is a link.

/** Return the values of the URL; `defaults` has the names and default values: texts, numbers, booleans, lists of texts. */
export function readState(defaults) {
  const given = new URLSearchParams(location.search);
  const state = {};
  for (const [name, value] of Object.entries(defaults)) {
    const text = given.get(name);
    if (text === null) state[name] = value;
    else if (typeof value === "number") state[name] = Number.isFinite(Number(text)) ? Number(text) : value;
    else if (typeof value === "boolean") state[name] = text === "1";
    else if (Array.isArray(value)) state[name] = text === "" ? [] : text.split(",");
    else state[name] = text;
  }
  return state;
}

/** Return the parameters of a state; values that are the defaults are left out. */
export function parameters(state, defaults) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(defaults)) {
    const now = state[name];
    if (String(now) === String(value)) continue;
    query.set(name, typeof now === "boolean" ? (now ? "1" : "0") : String(now));
  }
  return query;
}

/** Put a state into the URL; `push` makes a step of the browser's history. */
export function writeState(state, defaults, { push = false } = {}) {
  const query = String(parameters(state, defaults));
  const url = location.pathname + (query ? `?${query}` : "");
  if (push) history.pushState(null, "", url);
  else history.replaceState(null, "", url);
}
