// What every page has: navigation, title, messages, and requests to the API.

const PAGES = [
  ["/", "Overview"], ["/circuits", "Circuits"], ["/compare", "Compare"], ["/query", "Query"], ["/images", "Images"],
  ["/notes", "Notes"],
];

/** Make an element; attributes that start with `on` are listeners, and children may be texts. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Set up a page, and return its main element. */
export function openPage(title) {
  document.title = `${title} · circuitstore`;
  const here = location.pathname;
  const links = PAGES.map(([path, name]) =>
    element("a", { href: path, "aria-current": path === here ? "page" : null }, name));
  const main = element("main", { id: "main", tabindex: "-1" });
  document.body.append(
    element("a", { class: "skip", href: "#main" }, "Skip to the content"),
    element("header", {}, element("nav", { "aria-label": "Pages" }, element("strong", {}, "circuitstore"), ...links)),
    element("div", { id: "message", role: "alert" }),
    main,
  );
  main.append(element("h1", {}, title));
  addEventListener("unhandledrejection", (event) => {
    if (event.reason?.name === "AbortError") event.preventDefault();
    else showError(event.reason);
  });
  return main;
}

/** Show an error above the page; null removes it. */
export function showError(error) {
  const place = document.getElementById("message");
  place.replaceChildren(...(error ? [element("p", { class: "error" }, error.message ?? String(error))] : []));
}

/** An answer of the API that is an error; `status` is 0 if the server did not answer. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const AGAIN_MS = 2000;

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is `circuitstore serve` still running?", 0);
  }
  if (response.ok) return response;
  const text = await response.text();
  let told = text;
  try {
    const body = JSON.parse(text);
    told = body.error ?? body.detail?.map?.((one) => `${one.loc?.slice(-1)}: ${one.msg}`).join("; ") ?? body.detail ?? text;
  } catch { /* plain text */ }
  throw new ApiError(String(told).trim() || response.statusText, response.status);
}

let failed = null; // the request whose error is shown

async function ask(path, { signal, again = true, ...options }, read) {
  for (;;) {
    try {
      const found = await read(await request(path, { signal, ...options }));
      if (failed === path) showError(failed = null);
      return found;
    } catch (error) {
      if (error.name === "AbortError") throw error;
      failed = path;
      showError(error);
      if (!again || (error.status !== 503 && error.status !== 0)) throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      signal?.throwIfAborted();
    }
  }
}

/** Ask the API, and return its JSON. An error is shown above the page; one of the store is tried again until it answers. */
export function fetchJSON(path, options = {}) {
  return ask(path, options, (response) => response.json());
}

/** Ask the API, and return its bytes, like `fetchJSON`. */
export function fetchBytes(path, options = {}) {
  return ask(path, options, (response) => response.arrayBuffer());
}

/** Replace the content of an element; the control that has the focus keeps it, by its place among the controls. */
export function redraw(place, ...children) {
  const controls = () => [...place.querySelectorAll("a, button, input, select")];
  const at = controls().indexOf(document.activeElement);
  place.replaceChildren(...children);
  if (at >= 0) controls()[at]?.focus({ preventScroll: true });
}

/** Send JSON to the API, and return its answer. */
export function postJSON(path, body, { signal } = {}) {
  return fetchJSON(path, {
    signal, again: false, method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  });
}

/** Links that download a view in several formats. */
export function downloads(path, parameters, formats = ["csv", "json", "parquet"]) {
  const links = formats.map((format) => {
    const query = new URLSearchParams(parameters);
    query.set("as", format);
    return element("a", { href: `${path}?${query}`, download: true }, format === "parquet" ? "Parquet" : format.toUpperCase());
  });
  return element("p", { class: "downloads" }, "Download: ", ...links.flatMap((link, i) => (i ? [" · ", link] : [link])));
}

/** A button that copies a text. */
export function copyButton(label, text) {
  const button = element("button", { type: "button", onclick: async () => {
    await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1500);
  } }, label);
  return button;
}
