// What is known about the node or edge that is looked at: incoming and outgoing edges with their signs.

import { element } from "../app.js";
import { figure } from "./strokes.js";

const MOST = 12;

/** Fill a panel about one of `{nodes}`, one of `{edges}`, or with a hint. */
export function fillPanel(panel, graph, shown, what, hint) {
  const nodes = what?.nodes ?? [], edges = what?.edges ?? [];
  if (nodes.length === 1 && !edges.length) panel.replaceChildren(...aboutNode(graph, shown, nodes[0]));
  else if (edges.length === 1) panel.replaceChildren(...aboutEdge(graph, edges[0]));
  else if (what) panel.replaceChildren(element("p", {}, `${nodes.length} nodes and ${edges.length} edges found`));
  else panel.replaceChildren(element("p", { class: "quiet" }, hint));
}

function aboutEdge(graph, edge) {
  const rows = edgeFigures(graph, edge).map(([name, value]) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: "number" }, value)));
  return [element("h3", {}, graph.edgeName(edge)), element("table", {}, element("tbody", {}, ...rows))];
}

/** The figures of an edge as pairs of name and text. */
export function edgeFigures(graph, edge) {
  const { score, std, frequency, rank, port, side, score_a: scoreA, score_b: scoreB, count } = graph.edges;
  const found = [];
  if (side) {
    found.push(["in", graph.names?.[side[edge]] ?? side[edge]]);
    if (scoreA) found.push(["score in a", figure(scoreA[edge])], ["score in b", figure(scoreB[edge])]);
  } else if (score) {
    found.push([count ? "sum of scores" : "score", figure(score[edge]) + (std ? ` ± ${figure(std[edge]).replace("+", "")}` : "")]);
  }
  if (frequency) found.push(["frequency", figure(frequency[edge]).replace("+", "")]);
  if (count) found.push(["edges", String(count[edge])]);
  else found.push(["rank", String(rank[edge])]);
  if (port[edge]) found.push(["port", port[edge]]);
  return found;
}

function aboutNode(graph, shown, row) {
  const { nodes, edges } = graph;
  const within = new Set(shown);
  const lists = [["incoming", graph.incoming[row], edges.sender], ["outgoing", graph.outgoing[row], edges.receiver]];
  const parts = lists.flatMap(([title, all, ends]) => {
    const visible = all.filter((edge) => within.has(edge));
    const score = (edge) => edges.score?.[edge] ?? 0;
    visible.sort((a, b) => Math.abs(score(b)) - Math.abs(score(a)) || a - b);
    const raising = visible.filter((edge) => score(edge) > 0).length;
    const signs = edges.score ? `, ${raising} raise and ${visible.length - raising} lower the metric` : "";
    const rest = visible.length - MOST;
    return [
      element("h4", {}, `${visible.length} of ${all.length} ${title} edges${signs}`),
      element("ul", { class: "edges" }, ...visible.slice(0, MOST).map((edge) => line(graph, edge, nodes.name[ends[edge]]))),
      rest > 0 ? element("p", { class: "quiet" }, `${rest} weaker ones are not listed`) : null,
    ].filter(Boolean);
  });
  const totals = [["inflow", nodes.full_in], ["outflow", nodes.full_out]].filter(([, column]) => column)
    .map(([name, column]) => `${name} over all edges of the model ${figure(column[row])}`);
  return [
    element("h3", {}, nodes.name[row]),
    totals.length ? element("p", { class: "quiet" }, totals.join("; ")) : null,
    ...parts,
    graph.heads ? element("p", {}, element("a", { href: `/head/${encodeURIComponent(nodes.name[row])}${graph.heads}` },
      `${nodes.name[row]} in all circuits`)) : null,
  ].filter(Boolean);
}

function line(graph, edge, other) {
  const { score, port, side } = graph.edges;
  const value = score?.[edge];
  const sign = value === undefined || value === null ? "" : value < 0 ? "lowers" : "raises";
  return element("li", { class: sign || null },
    element("span", {}, `${other}${port[edge] ? ` ⟨${port[edge]}⟩` : ""}`),
    element("span", { class: "number" }, side && side[edge] !== "both" ? `${graph.names?.[side[edge]] ?? side[edge]} ` : "",
      score ? figure(value) : ""));
}
