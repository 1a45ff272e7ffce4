// The page of two circuits: one drawing of both, each by itself in step, scores against each other, and gains by layer.

import { downloads, element, fetchJSON, openPage } from "../app.js";
import { Explore, VIEW } from "../drawing/explore.js";
import { Graph } from "../drawing/graph.js";
import { Picture } from "../drawing/picture.js";
import { scatter } from "../drawing/scatter.js";
import { notesAbout } from "../noted.js";
import { readState, writeState } from "../state.js";
import { shown as text, table } from "../table.js";

const DEFAULTS = { a: "", b: "", ...VIEW };
const MOST_MARKS = 3000;
const main = openPage("Difference of two circuits");
const state = readState(DEFAULTS);
addEventListener("popstate", () => Object.assign(state, readState(DEFAULTS)));

if (!state.a || !state.b) {
  main.append(element("p", {}, "Choose two circuits: in the ", element("a", { href: "/circuits" }, "list of circuits"),
    ", or on the page of one of them under Compare. The address is /diff?a=ID&b=ID."));
} else {
  const pair = { a: state.a, b: state.b };
  show(await fetchJSON(`/api/1/diff?${new URLSearchParams(pair)}`), pair);
}

function show(found, pair) {
  const only = found.change ? ["gained (only in b)", "lost (only in a)"] : ["only in b", "only in a"];
  const named = { both: "in both", b: only[0], a: only[1] };
  const what = found.differing.join(", ") || "images";
  document.title = `${found.a.title} against ${found.b.title} · circuitstore`;
  main.append(
    element("p", {}, element("strong", {}, "a: "), circuitLink(found.a)),
    element("p", {}, element("strong", {}, "b: "), circuitLink(found.b), " ",
      element("a", { href: `/diff?${new URLSearchParams({ a: pair.b, b: pair.a })}` }, "swap a and b")),
    ...found.notes.map((note) => element("p", { class: "notice" }, note)),
    summary(found, named, what),
    floors(found, pair),
  );
  if (found.picture.layout) drawings(found, pair, named);
  main.append(layers(found, named), properties(found), notesAbout(`pair:${found.a.id}..${found.b.id}`),
    element("h2", {}, "All edges of both"), downloads("/api/1/diff/edges", pair));
}

function circuitLink(side) {
  return element("a", { href: `/c/${side.id}` }, side.title);
}

function summary(found, named, what) {
  const sides = found.picture.edges.side;
  const count = (side) => sides.filter((one) => one === side).length;
  const chance = found.chance === null ? "" : `; random circuits of these sizes: ${text(found.chance)} (p = ${text(found.p_chance)})`;
  return element("p", {}, `They differ in ${what}. ${count("both")} edges ${named.both}, ${count("b")} ${named.b}, ` +
    `${count("a")} ${named.a}; jaccard ${text(found.jaccard)}${chance}.`);
}

function floors(found, pair) {
  const place = element("p", { class: "quiet" }, "Noise floor: …");
  fetchJSON(`/api/1/diff/floors?${new URLSearchParams(pair)}`).then((floor) => {
    const parts = [];
    for (const side of ["a", "b"]) {
      if (floor[side] === null) continue;
      parts.push(`two halves of the images of ${side} have jaccard ${text(floor[side])}: ${text(floor[`changed_${side}`])} edges gained and as many lost`);
    }
    if (floor.swapped !== null) {
      parts.push(`with a and b swapped at random for each image, ${text(floor.swapped)} edges change (95 %: ${text(floor.swapped_high)}; ` +
        `p = ${text(floor.p_swapped)})`);
    }
    place.textContent = parts.length ? `When only the images differ: ${[...parts, ...floor.notes].join("; ")}.`
      : "The noise floor is unknown: scores per image were not kept, or no size was requested.";
  });
  return place;
}

function drawings(found, pair, named) {
  const graph = new Graph(found.picture);
  graph.names = named;
  graph.heads = "";
  const small = ["a", "b"].map((side) => sideOf(graph, found, side));
  const marks = element("div", {});
  const explore = new Explore(graph, {
    state,
    save: () => writeState(state, DEFAULTS),
    label: `${found.a.title} against ${found.b.title}`,
    name: `diff-${found.a.id.slice(0, 12)}-${found.b.id.slice(0, 12)}`,
    colours: ["side", "difference", "score", "port"],
    follow: (view, shown, grouped) => {
      const within = grouped === graph ? new Set(shown) : null;
      for (const one of small) one.show(view, within);
      clearTimeout(marks.waiting);
      marks.waiting = setTimeout(() => marks.replaceChildren(scatterOf(graph, within ? shown : [])), 150);
    },
  });
  const open = (edge) => explore.set({ pin: [graph.edges.sender[edge], graph.edges.receiver[edge]].map((row) => graph.nodes.name[row]) });
  marks.addEventListener("edge", (event) => open(event.detail));
  main.append(explore.element, element("h2", {}, "Each by itself"), element("div", { class: "pictures small" },
    ...small.map((one) => one.element)), marks);
}

/** One of the two circuits as a small drawing that shows those edges of the large one that it has. */
function sideOf(graph, found, side) {
  const own = graph.edges.side.flatMap((one, edge) => (one === "both" || one === side ? [edge] : []));
  const pick = (column) => column && own.map((edge) => column[edge]);
  const columns = Object.fromEntries(Object.entries(graph.edges).map(([name, column]) => [name, pick(column)]));
  const part = new Graph({ nodes: graph.nodes, layout: graph.layout, links: graph.links,
    edges: { ...columns, score: columns[`score_${side}`] ?? null } });
  part.names = graph.names;
  const count = element("figcaption", { class: "quiet" });
  const picture = new Picture(part, { label: `${side}: ${found[side].title}` });
  return {
    element: element("figure", {}, picture.element, count),
    show(view, within) {
      part.shown = () => own.flatMap((edge, i) => (!within || within.has(edge) ? [i] : []));
      const shown = part.shown().length;
      count.textContent = `${side}: ${found[side].title} (${shown} of ${own.length} edges shown)`;
      picture.update({ ...view, by: view.by === "difference" ? "side" : view.by });
    },
  };
}

function scatterOf(graph, shown) {
  const { score_a: a } = graph.edges;
  if (!a) return element("p", { class: "quiet" }, "The scores of the two are unknown or not comparable.");
  const edges = shown.slice(0, MOST_MARKS);
  const marks = scatter(graph, edges, (edge) => marks.dispatchEvent(new CustomEvent("edge", { detail: edge, bubbles: true })));
  return element("div", {}, element("h2", {}, "Scores in a and in b"),
    element("p", { class: "quiet" }, `${edges.length} of ${graph.size} edges: those of the drawing. Dots: ${graph.names.both}; squares: ` +
      `${graph.names.b}; crosses: ${graph.names.a}.`), marks);
}

function layers(found, named) {
  const most = Math.max(1, ...found.layers.map((one) => one.both + one.a + one.b));
  const rows = found.layers.map((one) => [one.layer === null ? "logits" : `layer ${one.layer}`, one.both, one.b, one.a, one]);
  return element("div", {}, element("h2", {}, "By the layer that reads them"), table(
    { columns: ["layer", "both", "b", "a", "bars"], rows },
    { caption: "Number of edges", titles: { both: named.both, b: named.b, a: named.a, bars: "share" }, cell: (name, value) => (name === "bars"
      ? element("span", { "aria-hidden": "true" }, ...["both", "b", "a"].map((side) =>
        element("span", { class: `bar ${side}`, style: `width: ${(12 * value[side]) / most}rem` })))
      : null) },
  ));
}

function properties(found) {
  const names = Object.keys(found.a.properties);
  const rows = names.map((name) => [name.replaceAll("_", " "), found.a.properties[name], found.b.properties[name]])
    .filter(([, a, b]) => (a ?? "") !== "" || (b ?? "") !== "");
  return element("div", {}, element("h2", {}, "Properties"), table({ columns: ["property", "a", "b"], rows }, { caption: "Both circuits" }));
}
