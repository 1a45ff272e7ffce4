// Named queries as forms, and Cypher; the text is part of the URL.

import { copyButton, downloads, element, fetchJSON, openPage, redraw, showError } from "../app.js";
import { table } from "../table.js";

const API = "/api/1/query";
const HISTORY = "circuitstore-queries", KEPT = 50;
const EXAMPLE = "MATCH (c:Circuit) WHERE c.flag = '' RETURN c.class AS class, c.condition AS condition, c.n_edges AS edges ORDER BY class LIMIT 20";

const main = openPage("Query");
const named = new Map((await fetchJSON(`${API}/named`)).map((query) => [query.name, query]));

const choice = element("select", { onchange: () => build(choice.value, {}) }, element("option", { value: "" }, "Cypher"),
  ...[...named.keys()].map((name) => element("option", { value: name }, name)));
const about = element("p", { class: "quiet" });
const fields = element("div", { class: "controls" });
const form = element("form", { onsubmit: (event) => { event.preventDefault(); ask({ push: true }); } });
const runButton = element("button", { type: "submit" }, "Run");
const stopButton = element("button", { type: "button", disabled: true, onclick: () => asking.abort() }, "Stop");
const status = element("p", { class: "quiet", role: "status" });
const answerPlace = element("div");
const past = element("details");
form.append(element("p", { class: "controls" }, element("label", {}, "Query", choice)), about, fields,
  element("p", { class: "controls" }, runButton, stopButton,
    element("span", { class: "quiet" }, "At most 30 seconds and 10,000 rows; Ctrl+Enter runs it.")));
main.append(form, status, answerPlace, past);

let asking = new AbortController();
let inputs = {};

/** Build the form of a named query, or of Cypher for an empty name. */
function build(name, values) {
  choice.value = name;
  const query = named.get(name);
  inputs = {};
  if (query) {
    about.textContent = query.about;
    fields.replaceChildren(...query.parameters.map((p) => {
      inputs[`p.${p.name}`] = element("input", { value: values[`p.${p.name}`] ?? "", required: p.required, title: p.about,
        placeholder: p.required ? p.type : p.default || "the only one", inputmode: p.type === "integer" ? "numeric" : null });
      return element("label", {}, `${p.name}${p.required ? " *" : ""}`, inputs[`p.${p.name}`], element("small", {}, p.about));
    }));
    inputs.run = element("input", { value: values.run ?? "", placeholder: "any" });
    inputs.flagged = element("input", { type: "checkbox" });
    inputs.flagged.checked = values.flagged === "true";
    fields.append(element("label", {}, "run", inputs.run), element("label", { class: "check" }, inputs.flagged, " flagged circuits too"));
    if (query.cypher) fields.append(element("details", {}, element("summary", {}, "Cypher"), element("pre", { tabindex: "0" }, query.cypher),
      element("button", { type: "button", onclick: () => build("", { text: query.cypher }) }, "Edit a copy")));
  } else {
    about.textContent = "Read-only Cypher. A text that could write, or read files, is rejected before it runs. Parameters such as $class are given as JSON or text.";
    inputs.text = element("textarea", { rows: "7", spellcheck: "false", maxlength: "20000", "aria-label": "Cypher" });
    inputs.text.value = values.text ?? EXAMPLE;
    inputs.text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask({ push: true }); }
    });
    const more = element("div", { class: "controls" });
    const parametersOf = () => {
      const names = [...new Set([...inputs.text.value.matchAll(/\$([A-Za-z_]\w*)/g)].map((found) => found[1]))];
      for (const key of Object.keys(inputs)) if (key.startsWith("p.") && !names.includes(key.slice(2))) delete inputs[key];
      more.replaceChildren(...names.map((name) => {
        inputs[`p.${name}`] ??= element("input", { value: values[`p.${name}`] ?? "" });
        return element("label", {}, `$${name}`, inputs[`p.${name}`]);
      }));
    };
    inputs.text.addEventListener("input", parametersOf);
    parametersOf();
    fields.replaceChildren(element("div", { class: "wide" }, inputs.text), more);
  }
}

/** Return the parameters of the request, which are also those of the page. */
function asked() {
  const query = new URLSearchParams();
  if (choice.value) query.set("text", choice.value);
  for (const [name, input] of Object.entries(inputs)) {
    if (input.type === "checkbox" ? input.checked : input.value) query.set(name, input.type === "checkbox" ? "true" : input.value);
  }
  return query;
}

async function ask({ push }) {
  asking.abort();
  const mine = asking = new AbortController();
  const query = asked();
  if (!query.get("text")) return;
  const url = `${location.pathname}?${query}`;
  if (push) history.pushState(null, "", url);
  else history.replaceState(null, "", url);
  stopButton.disabled = false;
  const began = performance.now();
  const clock = setInterval(() => { status.textContent = `running for ${Math.round((performance.now() - began) / 1000)} s …`; }, 500);
  status.textContent = "running …";
  try {
    const found = await fetchJSON(`${API}?${query}`, { signal: mine.signal });
    status.textContent = `${found.rows.length} rows in ${((performance.now() - began) / 1000).toFixed(2)} s`;
    remember(query);
    showAnswer(found, query);
  } catch (error) {
    if (mine === asking) {
      status.textContent = error.name === "AbortError" ? "stopped" : "";
      answerPlace.replaceChildren();
    }
    if (error.name !== "AbortError") showError(error);
    else if (mine === asking) showError(null);
  } finally {
    clearInterval(clock);
    if (mine === asking) stopButton.disabled = true;
  }
}

function showAnswer(found, query) {
  let sort = null, descending = false;
  const facts = Object.entries(found.facts).filter(([name]) => name !== "parameters");
  const holder = element("div");
  const draw = () => {
    const at = found.columns.indexOf(sort);
    const rows = at < 0 ? found.rows : [...found.rows].sort((a, b) => compare(a[at], b[at], descending));
    redraw(holder, table({ columns: found.columns, rows }, { caption: "Answer", cell, sort, descending,
      onsort: (name) => { descending = sort === name ? !descending : false; sort = name; draw(); } }));
  };
  draw();
  const title = named.get(query.get("text"));
  const meaning = title && Object.entries(title.columns).filter(([name]) => found.columns.includes(name));
  answerPlace.replaceChildren(
    ...found.notes.map((text) => element("p", { class: "notice" }, text)),
    ...facts.map(([name, value]) => element("p", { class: "quiet" }, `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`)),
    found.rows.length ? holder : element("p", {}, "No rows."),
    ...(meaning ? [element("details", {}, element("summary", {}, "What the columns mean"),
      element("dl", {}, ...meaning.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)])))] : []),
    downloads(API, query),
    element("p", { class: "controls" }, copyButton("Copy as Python", () => python(query)), copyButton("Copy link", () => location.href)),
  );
}

/** Return the order of two values; missing ones come last, in both directions. */
function compare(a, b, descending) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : Number(String(a) > String(b));
  return descending ? -order : order;
}

function cell(name, value) {
  if (typeof value === "string" && (name === "id" || name === "circuit") && /^[0-9a-f]{64}$/.test(value)) {
    return element("a", { href: `/c/${value}` }, value.slice(0, 12));
  }
  return null;
}

/** Return Python that gives the same rows; JSON texts are Python texts, except for signs beyond the basic plane. */
function python(query) {
  const params = [...query].filter(([name]) => name.startsWith("p.")).map(([name, value]) =>
    `${JSON.stringify(name.slice(2))}: ${literal(value, !named.has(query.get("text")))}`);
  const options = [query.get("run") ? `, run=${JSON.stringify(query.get("run"))}` : "", query.get("flagged") ? ", flagged=True" : ""];
  return `import circuitstore as cs\n\nwith cs.open_store("FOLDER") as store:\n`
    + `    print(cs.query(store, ${JSON.stringify(query.get("text"))}, {${params.join(", ")}}${options.join("")}))\n`;
}

function literal(value, typed) {
  if (!typed) return JSON.stringify(value);
  try {
    return pythonOf(JSON.parse(value));
  } catch { return JSON.stringify(value); }
}

function pythonOf(value) {
  if (Array.isArray(value)) return `[${value.map(pythonOf).join(", ")}]`;
  if (value === null || typeof value === "boolean") return { null: "None", true: "True", false: "False" }[String(value)];
  return JSON.stringify(value);
}

function readHistory() {
  try { return JSON.parse(localStorage.getItem(HISTORY)) ?? []; } catch { return []; }
}

function remember(query) {
  const text = String(query);
  const kept = [text, ...readHistory().filter((one) => one !== text)].slice(0, KEPT);
  try { localStorage.setItem(HISTORY, JSON.stringify(kept)); } catch { /* no room, or not allowed */ }
  showHistory();
}

function showHistory() {
  const kept = readHistory();
  past.replaceChildren(element("summary", {}, `History (${kept.length})`), element("ul", {}, ...kept.map((one) => {
    const query = new URLSearchParams(one);
    const values = [...query].filter(([name]) => name !== "text").map(([name, value]) => `${name.replace("p.", "")}=${value}`).join(", ");
    return element("li", {}, element("a", { href: `/query?${one}` }, query.get("text").slice(0, 200)), values ? ` (${values})` : "");
  })));
}

function load() {
  const query = new URLSearchParams(location.search);
  const text = query.get("text");
  build(named.has(text) ? text : "", Object.fromEntries(query));
  if (text) return ask({ push: false });
  asking.abort();
  asking = new AbortController();
  answerPlace.replaceChildren();
  status.textContent = "";
  stopButton.disabled = true;
  return null;
}

addEventListener("popstate", load);
showHistory();
await load();
performance.mark("ready");
