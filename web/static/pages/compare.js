// The comparison page: a heat map of the similarity of all pairs of circuits that differ in one property.

import { ApiError, downloads, element, fetchBytes, fetchJSON, openPage } from "../app.js";
import { HeatMap } from "../heatmap.js";
import { readArrays } from "../safetensors.js";
import { readState, writeState } from "../state.js";
import { counted, table } from "../table.js";

const API = "/api/1/compare";
const FIELDS = ["model", "dataset", "class", "image_group", "condition", "form", "method", "metric", "direction", "corruption", "extraction"];
const ASKED = { by: "class", measure: "jaccard", run: "", flagged: false };
const SHOWN = { order: "clustered", hatch: "within", zoom: "" };
const DEFAULTS = { ...ASKED, ...Object.fromEntries(FIELDS.map((field) => [field, null])), ...SHOWN };
const ORDERS = { clustered: "similar ones next to each other", stored: "natural first, by class index", name: "by name" };
const HATCHES = {
  within: ["differences within noise", "at or above the noise floor: no difference is shown", (value, floor) => value >= floor],
  below: ["differences beyond noise", "below the noise floor: less alike than halves of the images", (value, floor) => value < floor],
  none: ["nothing", "", () => false],
};
const ROWS = 50; // pairs in the table

// Similarities of all pairs. `at(name, i, j)` is a number of a pair, NaN if it is unknown.
class Pairs {
  constructor({ facts, arrays }) {
    this.facts = facts;
    this.arrays = arrays;
    this.count = facts.labels.length;
  }

  at(name, i, j) {
    const values = this.arrays[name]?.values;
    if (!values) return NaN;
    const [a, b] = i < j ? [i, j] : [j, i];
    return values[a * this.count - (a * (a - 1)) / 2 + b - a];
  }

  // Adds the noise floors, which come later.
  add({ facts, arrays }) {
    Object.assign(this.arrays, arrays);
    Object.assign(this.facts, facts);
  }

  order(name) {
    const order = [...Array(this.count).keys()];
    if (name === "clustered") return [...this.arrays.order.values];
    const { labels } = this.facts;
    return name === "name" ? order.sort((i, j) => labels[i].localeCompare(labels[j], undefined, { numeric: true })) : order;
  }

  describe(i, j) {
    const { labels, measure, edges } = this.facts;
    const floor = this.at("floors", i, j);
    if (i === j) return `${labels[i]}: ${edges[i]} edges${Number.isNaN(floor) ? "" : `; noise floor ${floor.toFixed(3)}`}`;
    const value = this.at("values", i, j), chance = this.at("chance", i, j);
    const parts = [`${labels[i]} and ${labels[j]}: ${measure} ${value.toFixed(3)}`];
    if (!Number.isNaN(floor)) parts.push(`noise floor ${floor.toFixed(3)}${value < floor ? ", below it" : ", at or above it"}`);
    if (!Number.isNaN(chance)) parts.push(`chance ${chance.toFixed(3)}`);
    return parts.join("; ");
  }
}

// Returns what the heat map shows of some pairs, in an order, with some cells hatched.
function pictured(pairs, order, hatched) {
  const { facts } = pairs;
  const [, text, isHatched] = HATCHES[hatched] ?? HATCHES.within;
  const floored = "floors" in pairs.arrays && Number.isFinite(facts.noise_floor);
  const low = facts.measure === "spearman" ? -1 : 0;
  const marks = [[facts.noise_floor, "noise floor"], [facts.chance, "chance"]].filter(([at]) => Number.isFinite(at));
  const ticks = [...marks.map(([at, name]) => [at, `${name} ${at.toFixed(2)}`]), [low, String(low)], [1, "1"]];
  return {
    name: `Heat map of ${facts.measure} between ${pairs.count} circuits`,
    labels: facts.labels,
    order: pairs.order(order),
    value: (i, j) => pairs.at(i === j ? "floors" : "values", i, j),
    hatched: (i, j) => i !== j && floored && isHatched(pairs.at("values", i, j), pairs.at("floors", i, j)),
    describe: (i, j) => pairs.describe(i, j),
    hatchText: floored ? text : "",
    low,
    high: 1,
    ticks,
  };
}

// Returns the rows of the table: the most similar pairs.
function closest(pairs) {
  const { labels, circuits, measure } = pairs.facts;
  const sorted = new Float32Array((pairs.count * (pairs.count - 1)) / 2);
  for (let i = 0, at = 0; i < pairs.count; i++) for (let j = i + 1; j < pairs.count; j++) sorted[at++] = pairs.at("values", i, j);
  const known = sorted.filter((value) => !Number.isNaN(value)).sort();
  const lowest = known.length ? known.at(-Math.min(ROWS, known.length)) : Infinity; // sorting half a million pairs themselves takes a second
  const best = [];
  for (let i = 0; i < pairs.count; i++) {
    for (let j = i + 1; j < pairs.count; j++) if (pairs.at("values", i, j) >= lowest) best.push([i, j, pairs.at("values", i, j)]);
  }
  const number = (value) => (Number.isNaN(value) ? null : Number(value.toFixed(3))); // they are in half precision
  return {
    total: sorted.length,
    columns: ["a", "b", measure, "noise floor", "chance", "circuit_a", "circuit_b"],
    rows: best.sort(([, , a], [, , b]) => b - a).slice(0, ROWS).map(([i, j, value]) =>
      [labels[i], labels[j], number(value), number(pairs.at("floors", i, j)), number(pairs.at("chance", i, j)), circuits[i], circuits[j]]),
  };
}

function difference(a, b) {
  return `/diff?${new URLSearchParams({ a, b })}`;
}

const main = openPage("Compare circuits");
const state = readState(DEFAULTS);
const controls = element("div", { class: "controls" });
const status = element("p", { class: "quiet", role: "status" });
const host = element("div", {});
const below = element("div", {});
main.append(controls, status, host, below);
const map = new HeatMap(host, {
  open: (i, j) => location.assign(difference(pairs.facts.circuits[i], pairs.facts.circuits[j])),
  moved: ({ row, column, span }) => keep({ zoom: span < pairs.count ? `${row},${column},${span}` : "" }),
});
let pairs = null;
let asking = new AbortController();

function keep(values) {
  Object.assign(state, values);
  writeState(state, DEFAULTS);
}

// Returns the parameters of requests: what is compared, and the values that select one group.
function query() {
  const asked = new URLSearchParams({ by: state.by, measure: state.measure });
  if (state.run) asked.set("run", state.run);
  if (state.flagged) asked.set("flagged", "true");
  for (const field of FIELDS) if (field !== state.by && state[field] !== null) asked.set(field, state[field]);
  return asked;
}

function select(label, values, chosen, choose) {
  const options = Object.entries(values).map(([value, text]) => element("option", { value, selected: value === chosen }, text));
  return element("label", {}, label, element("select", { onchange: (event) => choose(event.target.value) }, ...options));
}

// Compares again, after a choice of what is compared.
function again(values) {
  keep({ ...values, zoom: "" });
  show();
}

// Chooses a value of a field, and of all groups with it the one that agrees most with the present one.
function chooseValue(groups, field, value) {
  const agreement = ({ values }) => Object.entries(values).filter(([name, one]) => state[name] === one).length;
  const fitting = groups.filter(({ values }) => values[field] === value);
  again(fitting.reduce((best, one) => (agreement(one) > agreement(best) ? one : best)).values);
}

function drawControls({ fields, measures, groups }, shown) {
  const names = (values) => Object.fromEntries(values.map((value) => [value, value.replaceAll("_", " ")]));
  const chosen = Object.keys(shown?.values ?? {}).map((field) => {
    const values = [...new Set(groups.map((group) => group.values[field]))];
    return select(field.replaceAll("_", " "), Object.fromEntries(values.map((value) => [value, value || "(none)"])), state[field],
      (value) => chooseValue(groups, field, value));
  });
  controls.replaceChildren(
    select("compare by", names(fields), state.by, (by) =>
      again({ ...Object.fromEntries(FIELDS.map((field) => [field, null])), by })),
    select("measure", names(Object.keys(measures)), state.measure, (measure) => again({ measure })),
    ...chosen,
    select("order", ORDERS, state.order, (order) => { keep({ order }); draw(); }),
    select("hatched", Object.fromEntries(Object.entries(HATCHES).map(([key, [text]]) => [key, text])), state.hatch,
      (hatch) => { keep({ hatch }); draw(); }),
    element("label", {}, "flagged circuits", element("input", { type: "checkbox", checked: state.flagged,
      onchange: (event) => again({ flagged: event.target.checked }) })),
  );
}

function draw(view = map.view) {
  map.show(pictured(pairs, state.order, state.hatch), view);
  const { facts } = pairs;
  const notes = [...facts.notes, ...(facts.floor_notes ?? [])];
  const same = Object.entries(facts.common).filter(([, value]) => value).map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`);
  const rows = closest(pairs);
  const parts = [
    element("p", {}, "Zoom: ", ...[["+", 0.5, "in"], ["−", 2, "out"], ["0", 0, "everything"]].flatMap(([sign, factor, what]) =>
      [element("button", { type: "button", title: what, "aria-label": `zoom: ${what}`, onclick: () => map.zoom(factor) }, sign), " "]),
    element("button", { type: "button", onclick: save }, "PNG")),
    element("p", { class: "quiet" }, `${facts.measure}: ${facts.about}. Diagonal: noise floor of each circuit. A click opens the difference.`),
    element("p", { class: "quiet" }, `All have: ${same.join(", ")}.`),
    notes.length ? element("ul", {}, ...notes.map((note) => element("li", {}, note))) : null,
    element("h2", {}, "Pairs"),
    element("p", { class: "quiet" }, counted(rows.rows.length, rows.total, "pairs"), ", the most similar first"),
    table(rows, { caption: `Pairs by ${facts.measure}`, hidden: ["circuit_a", "circuit_b"], cell: (name, value, row) =>
      name === "a" ? element("a", { href: difference(row.circuit_a, row.circuit_b) }, value) : null }),
    downloads(`${API}/pairs`, query()),
  ];
  below.replaceChildren(...parts.filter(Boolean));
}

function save() {
  map.toBlob((picture) => {
    const link = element("a", { href: URL.createObjectURL(picture), download: `${state.measure}-by-${state.by}.png` });
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

async function show() {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  const choices = await fetchJSON(`${API}/groups?${query()}`, { signal });
  const fits = ({ values }) => Object.entries(values).every(([name, value]) => (state[name] ?? value) === value);
  const group = choices.groups.find(fits);
  keep(group?.values ?? {});
  drawControls(choices, group ?? choices.groups[0]);
  status.textContent = "Comparing circuits …";
  try {
    pairs = new Pairs(readArrays(await fetchBytes(`${API}/similarities?${query()}`, { signal })));
    const [row, column, span] = state.zoom.split(",").map(Number);
    host.hidden = false;
    draw(span && row + span <= pairs.count && column + span <= pairs.count ? { row, column, span } : { row: 0, column: 0, span: pairs.count });
    status.textContent = "Computing noise floors, which may take ten seconds …";
    pairs.add(readArrays(await fetchBytes(`${API}/floors?${query()}`, { signal })));
    draw();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof ApiError)) throw error;
    host.hidden = true; // the message says why these circuits are not compared
    below.replaceChildren();
  } finally {
    if (asking.signal === signal) status.textContent = "";
  }
}

host.hidden = true;
await show();
