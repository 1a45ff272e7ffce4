// The page of a head, an MLP or another component: which circuits have it, and its edges over classes and conditions.

import { copyButton, element, fetchJSON, openPage } from "../app.js";
import { csv, save } from "../drawing/exports.js";
import { figure } from "../drawing/strokes.js";
import { notesAbout } from "../noted.js";
import { parameters, readState, writeState } from "../state.js";
import { counted, table } from "../table.js";

const DEFAULTS = { study: "", limit: 40 };
const name = decodeURIComponent(location.pathname.split("/").pop());
const main = openPage(`${name} in all circuits`);
const state = readState(DEFAULTS);
const place = element("div", {});
let asking = new AbortController();
main.append(place);
addEventListener("popstate", () => {
  Object.assign(state, readState(DEFAULTS));
  show();
});
await show();

async function show() {
  asking.abort();
  asking = new AbortController();
  const query = parameters({ study: state.study }, { study: "" });
  const found = await fetchJSON(`/api/1/heads/${encodeURIComponent(name)}?${query}`, { signal: asking.signal });
  const choose = element("select", { onchange: (event) => {
    state.study = event.target.value;
    writeState(state, DEFAULTS, { push: true });
    show();
  } }, ...found.studies.map((one) => element("option", { value: one.key, selected: one.key === found.study },
    `${one.text} (in ${one.having} of ${one.circuits})`)));
  if (!found.studies.length) {
    place.replaceChildren(element("p", {}, "The store has no circuits."));
    return;
  }
  const having = found.circuits.filter((circuit) => circuit.has);
  place.replaceChildren(
    element("div", { class: "controls" }, element("label", {}, "Study", choose)),
    element("p", {}, `${name} is in ${having.length} of ${found.circuits.length} circuits of this study.`),
    circuits(found), edges(found, having), changes(found), readouts(found), notesAbout(`component:${found.model}/${name}`),
    element("p", { class: "downloads" }, copyButton("Copy Cypher: circuits", found.cypher[0]), " ",
      copyButton("Copy Cypher: edges", found.cypher[1])),
  );
}

function circuits(found) {
  const rows = found.circuits.map((one, i) => [one.cls, one.short, one.has ? "yes" : "no",
    one.has ? found.scores.filter((scores) => scores[i] !== null).length : 0, one.full_in, one.full_out, one.id]);
  return element("div", {}, element("h2", {}, "Circuits"), table(
    { columns: ["class", "condition", "has it", "edges", "inflow", "outflow", "circuit"], rows },
    { caption: `${counted(rows.length, rows.length, "circuits")}; inflow and outflow: signed sums over all edges of the model`,
      cell: (column, value) => (column === "circuit"
        ? element("a", { href: `/c/${value}?pin=${encodeURIComponent(name)}&hide=1` }, value.slice(0, 12)) : null) },
  ));
}

function edges(found, having) {
  const at = having.map((one) => found.circuits.indexOf(one));
  const columns = ["edge", "circuits", ...having.map((one) => `${one.cls} · ${one.short}`)];
  const all = found.edges.map((edge, i) => [edge, at.filter((j) => found.scores[i][j] !== null).length,
    ...at.map((j) => found.scores[i][j])]);
  const shown = all.slice(0, state.limit);
  const more = shown.length < all.length ? element("button", { type: "button", onclick: () => {
    state.limit = all.length;
    writeState(state, DEFAULTS);
    show();
  } }, "Show all") : null;
  return element("div", {}, element("h2", {}, "Its edges over classes and conditions"),
    table({ columns, rows: shown }, { caption: `${counted(shown.length, all.length, "edges")}; the score where a circuit has the edge`,
      cell: (column, value) => (column !== "edge" && column !== "circuits" && typeof value === "number"
        ? element("span", { class: value < 0 ? "lowers" : "raises" }, figure(value)) : null) }),
    more, element("p", { class: "downloads" }, "Download: ", element("button", { type: "button",
      onclick: () => save(`${name}-edges.csv`, csv({ columns, rows: all }), "text/csv") }, "CSV of all edges")));
}

/** What differs between the natural circuit of a class and those of other conditions. */
function changes(found) {
  const rows = [];
  found.circuits.forEach((natural, i) => {
    if (natural.condition !== "natural") return;
    found.circuits.forEach((other, j) => {
      if (other.cls !== natural.cls || i === j) return;
      const only = (has, not) => found.edges.filter((_, k) => found.scores[k][has] !== null && found.scores[k][not] === null);
      rows.push([natural.cls, other.short, found.edges.filter((_, k) => found.scores[k][i] !== null && found.scores[k][j] !== null).length,
        only(j, i), only(i, j), `${natural.id} ${other.id}`]);
    });
  });
  if (!rows.length) return element("div", {});
  return element("div", {}, element("h2", {}, "What differs under other conditions"), table(
    { columns: ["class", "condition", "in both", "only under it", "only natural", "difference"], rows },
    { caption: "Edges of this component", cell: (column, value) => {
      if (column !== "difference") return null;
      const [a, b] = value.split(" ");
      return element("a", { href: `/diff?a=${a}&b=${b}&pin=${encodeURIComponent(name)}` }, "open");
    } },
  ));
}

function readouts(found) {
  if (!found.readouts.length) return element("div", {});
  const rows = found.readouts.map((one) => [one.readout, one.cls, one.condition, one.value, one.std, one.unit]);
  return element("div", {}, element("h2", {}, "Read-outs at this component"),
    table({ columns: ["read-out", "class", "condition", "mean", "std", "unit"], rows }, { caption: found.readouts_read === found.readouts_stored
      ? "Means over images" : `Means over images; ${found.readouts_read} of ${found.readouts_stored} read-outs of the model were looked at` }));
}
