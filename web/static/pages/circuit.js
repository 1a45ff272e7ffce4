// The page of a circuit.

import { element, fetchJSON, openPage } from "../app.js";
import { Explore, VIEW } from "../drawing/explore.js";
import { cypher, python } from "../drawing/exports.js";
import { Graph } from "../drawing/graph.js";
import { notesAbout } from "../noted.js";
import { readState, writeState } from "../state.js";
import { counted, shown as text } from "../table.js";

const id = decodeURIComponent(location.pathname.split("/").pop());
const api = `/api/1/circuits/${encodeURIComponent(id)}`;
const main = openPage(`Circuit ${id.slice(0, 12)}`);
const state = readState(VIEW);
addEventListener("popstate", () => Object.assign(state, readState(VIEW)));

const found = await fetchJSON(api);
main.querySelector("h1").textContent = found.title;
document.title = `${found.title} · circuitstore`;
main.append(element("p", { class: "quiet" }, `Circuit ${found.id}`));
for (const note of [...found.notes, found.properties.flag && `flag: ${found.properties.flag}`].filter(Boolean)) {
  main.append(element("p", { class: "notice" }, note));
}
if (found.picture.layout) {
  const graph = new Graph(found.picture);
  graph.heads = "";
  const explore = new Explore(graph, {
    state,
    save: () => writeState(state, VIEW),
    label: found.title,
    name: `circuit-${found.id.slice(0, 12)}`,
    colours: ["score", "frequency", "port"],
    copies: [["Copy as Python", (view, edges) => python(found.id, view, found.folder, edges)], ["Copy Cypher", (view, edges) => cypher(found.id, view, edges)]],
  });
  main.append(explore.element);
} else {
  main.append(element("p", { class: "notice" }, "Circuits over this universe have no drawing; the files below have their edges."));
}
main.append(figures(), comparison(), notesAbout(`circuit:${found.id}`), examples(), files());

function figures() {
  const p = found.properties;
  const recipe = ["model", "dataset", "class", "image_group", "condition", "method", "form", "metric", "corruption", "word", "target",
    "against", "direction", "extraction", "n_edges", "n_graph_edges", "n_nodes", "size_requested", "n_images", "n_eval", "seed"];
  const random = found.metric_random;
  const range = random.length ? `${text(Math.min(...random))} to ${text(Math.max(...random))} (${random.length} circuits)` : "";
  const evaluation = [
    ["metric of the whole model", p.metric_full], ["metric of the circuit", p.metric_circuit],
    ["metric of random circuits of its size", range], ["metric with every edge corrupted", p.metric_empty],
    ["faithfulness", p.faithfulness ?? found.reasons.faithfulness], ["faithfulness of random circuits", p.faithfulness_random],
    ["accuracy of the whole model", p.accuracy_full], ["accuracy of the circuit", p.accuracy_circuit],
    ["accuracy with every edge corrupted", p.accuracy_empty], ["retention", p.retention ?? found.reasons.retention],
  ];
  const floor = element("td", { class: "number" }, "…");
  whenSeen(floor, async () => {
    const { value, changed } = await fetchJSON(`${api}/floor`);
    floor.textContent = value === null
      ? "unknown: scores per image were not kept, or no size was requested"
      : `${text(value)}${changed === null ? "" : `; ${text(changed)} edges gained and as many lost`}`;
  });
  return element("div", { class: "figures" },
    element("div", {}, element("h2", {}, "Evaluation"), rows(evaluation,
      element("tr", {}, element("th", { scope: "row" }, "noise floor: jaccard between two halves of its images"), floor))),
    element("div", {}, element("h2", {}, "Question and recipe"), rows(recipe.map((name) => [name.replaceAll("_", " "), p[name]]))));
}

/** Call a function when an element comes into view, because what it computes takes seconds for large graphs. */
function whenSeen(place, act) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    act();
  });
  observer.observe(place);
}

function rows(pairs, ...more) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element("table", {}, element("tbody", {}, ...known.map(([name, value]) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: typeof value === "number" ? "number" : null }, text(value)))),
  ...more));
}

function comparison() {
  const place = element("div", {}, element("h2", {}, "Compare"));
  whenSeen(place, async () => {
    const { circuits, total } = await fetchJSON(`${api}/others`);
    const open = (event) => event.target.value && location.assign(`/diff?a=${found.id}&b=${event.target.value}`);
    const choices = circuits.map((other) => element("option", { value: other.id }, `${other.cls} · ${other.condition}`));
    place.append(element("div", { class: "controls" }, element("label", {},
      `With another class or condition (${counted(circuits.length, total, "circuits")})`,
      element("select", { onchange: open }, element("option", { value: "" }, "choose a circuit …"), ...choices))));
  });
  return place;
}

/** Example images of the class under the circuit's condition, if the store has them. */
function examples() {
  const place = element("div", { class: "examples" });
  const p = found.properties;
  const subject = new URLSearchParams({ model_id: p.model_id, dataset: p.dataset, class: p.class, image_group: p.image_group });
  whenSeen(place, async () => {
    const images = await fetchJSON(`/api/1/images?${subject}`);
    const set = images.sets.find((one) => one.condition === p.condition);
    if (!set) return;
    place.before(element("h2", {}, "Example images"));
    place.append(...set.examples.map((one) => {
      const attacked = one.attacked_as !== null;
      const predicted = attacked ? one.attacked_as : one.predicted;
      return element("figure", {},
        element("img", { src: `/api/1/images/${set.id}/${one.hash}/${attacked ? "attacked" : "clean"}.png`,
          alt: `image of ${p.class} under ${p.condition}, seen as ${predicted}` }),
        element("figcaption", {}, `seen as ${predicted} (${text(attacked ? one.attacked_probability : one.probability)})`));
    }));
    place.after(element("p", {}, element("a", { href: `/images?${subject}` }, "All images of this class")));
  });
  return element("div", {}, place);
}

function files() {
  const links = found.formats.map(({ key, name }) =>
    element("li", {}, element("a", { href: `${api}/export/${key}`, download: true }, key), ` ${name}`));
  return element("div", {}, element("h2", {}, "Files of the whole circuit"), element("ul", {}, ...links));
}
