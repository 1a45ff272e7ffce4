// The list of circuits: filtered, sorted and cut into pages by the server.

import { downloads, element, fetchJSON, openPage, redraw } from "../app.js";
import { parameters, readState, writeState } from "../state.js";
import { counted, table } from "../table.js";

const API = "/api/1/circuits";
const PAGE = 100;
const FIELDS = ["model", "model_id", "dataset", "class", "image_group", "condition", "attack", "method", "form", "metric", "corruption", "extraction",
  "flag"];
const DEFAULTS = { ...Object.fromEntries(FIELDS.map((name) => [name, null])), run: "", counts: false, sort: "created_ms", descending: true,
  offset: 0, pick: [] };
const SHOWN = ["pick", "id", "class", "condition", "model", "method", "form", "metric", "extraction", "n_edges", "n_graph_edges",
  "faithfulness", "faithfulness_random", "retention", "flag", "created_ms"];
const TITLES = { n_edges: "edges", n_graph_edges: "of", faithfulness_random: "random", created_ms: "created", pick: "" };
const MANY = 40;

const main = openPage("Circuits");
let state = readState(DEFAULTS);
const [form, chosen, place] = [element("form", { class: "controls" }), element("p", { class: "chosen" }), element("div")];
const shared = element("p", { class: "quiet" });
main.append(shared, form, chosen, place);
form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("popstate", () => { state = readState(DEFAULTS); fill(); show(); });

let asking = new AbortController();

/** Return the parameters of a request: those of the page that the API knows. */
function asked() {
  const { pick, offset, ...rest } = state;
  return parameters({ ...rest, counts: state.counts }, { ...DEFAULTS, pick: undefined, offset: undefined });
}

function change(part, { push = true } = {}) {
  state = { ...state, offset: 0, ...part };
  writeState(state, DEFAULTS, { push });
  return show();
}

let choices = null;

function fill() {
  const known = { ...choices.values };
  // a value of the URL that the store does not have (any more) can still be taken away
  for (const name of FIELDS) if (state[name] !== null && !(state[name] in (known[name] ?? {}))) known[name] = { ...known[name], [state[name]]: 0 };
  const fields = FIELDS.filter((name) => known[name]).map((name) => {
    const values = Object.entries(known[name]);
    const title = name.replaceAll("_", " ");
    if (values.length > MANY) {
      const list = element("datalist", { id: `values-${name}` }, ...values.map(([value]) => element("option", { value })));
      return element("label", {}, title, element("input", { list: list.id, value: state[name] ?? "", placeholder: `any of ${values.length}`,
        onchange: (event) => change({ [name]: event.target.value || null }) }), list);
    }
    const select = element("select", { onchange: () => change({ [name]: values[select.selectedIndex - 1]?.[0] ?? null }) }, element("option", {}, "any"),
      ...values.map(([value, count]) => element("option", { value }, `${choices.short[name]?.[value] ?? (value || "none")} (${count})`)));
    select.selectedIndex = 1 + values.findIndex(([value]) => value === state[name]); // 0 is any
    return element("label", {}, title, select);
  });
  const run = element("select", { onchange: (event) => change({ run: event.target.value }) }, element("option", { value: "" }, "any"),
    ...choices.runs.map((name) => element("option", { value: name }, name)));
  run.value = state.run;
  const counts = element("input", { type: "checkbox", onchange: (event) => change({ counts: event.target.checked }) });
  counts.checked = state.counts;
  const same = Object.entries(choices.single).map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`).join(", ");
  shared.textContent = same && `All circuits: ${same}.`;
  form.replaceChildren(...(choices.runs.length ? [element("label", {}, "run", run)] : []), ...fields,
    element("label", { class: "check" }, counts, " newest without a flag"));
}

function showPicked() {
  const [a, b] = state.pick;
  const list = state.pick.map((id) => id.slice(0, 8)).join(", ");
  const links = state.pick.length === 2 ? [element("a", { href: `/diff?${new URLSearchParams({ a, b })}` }, "Compare the two"), " · "] : [];
  chosen.replaceChildren(...(state.pick.length ? [`Selected: ${list}. `, ...links,
    ...(state.pick.length === 1 ? ["Select another one to compare them. "] : []),
    element("button", { type: "button", onclick: () => pick([]) }, "Clear")] : ["Select two circuits to compare them."]));
}

function pick(ids) {
  state.pick = ids.slice(-2);
  writeState(state, DEFAULTS);
  for (const box of place.querySelectorAll("input[type=checkbox]")) box.checked = state.pick.includes(box.value);
  showPicked();
}

function cell(name, value, row) {
  if (name === "pick") {
    const box = element("input", { type: "checkbox", value: row.id, "aria-label": `select ${row.class}, ${row.condition}`,
      onchange: () => pick(box.checked ? [...state.pick, row.id] : state.pick.filter((id) => id !== row.id)) });
    box.checked = state.pick.includes(row.id);
    return box;
  }
  if (name === "id") return element("a", { href: `/c/${value}` }, value.slice(0, 8));
  if (name === "created_ms") return new Date(value).toLocaleString("sv").slice(0, 16);
  const short = choices.short[name]?.[value];
  return short === undefined || short === value ? null : element("span", { title: value }, short);
}

async function show() {
  asking.abort();
  asking = new AbortController();
  const query = asked();
  query.set("offset", state.offset);
  query.set("limit", PAGE);
  const found = await fetchJSON(`${API}?${query}`, { signal: asking.signal });
  const columns = SHOWN.filter((name) => name === "pick" || (found.columns.includes(name) && !(name in choices.single)
    && (name !== "flag" || found.rows.some((row) => row[found.columns.indexOf("flag")]))));
  const at = [...columns.slice(1), ...["id"]].map((name) => found.columns.indexOf(name));
  const rows = found.rows.map((row) => ["", ...at.slice(0, -1).map((i) => row[i])]);
  const first = found.rows.length ? state.offset + 1 : 0;
  const step = (text, offset, usable) => element("button", { type: "button", disabled: !usable,
    onclick: () => change({ offset }) }, text);
  redraw(place,
    element("p", { class: "quiet", role: "status" }, found.rows.length && found.total > found.rows.length
      ? `${first}–${state.offset + found.rows.length} of ${found.total} circuits` : counted(found.rows.length, found.total, "circuits")),
    ...(found.total ? [table({ columns, rows }, { caption: "Circuits", titles: TITLES, cell, sort: state.sort, descending: state.descending,
      onsort: (name) => change({ sort: name, descending: state.sort === name ? !state.descending : false }) })]
      : [element("p", {}, "No circuit has these properties.")]),
    element("p", { class: "controls" }, step("◂ Previous", Math.max(0, state.offset - PAGE), state.offset > 0),
      step("Next ▸", state.offset + PAGE, state.offset + PAGE < found.total)),
    downloads(API, asked()),
  );
  showPicked();
}

choices = await fetchJSON(`${API}/choices`);
fill();
await show();
performance.mark("ready");
