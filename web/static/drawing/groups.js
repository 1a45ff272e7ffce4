// Supernodes: nodes that are drawn as one, with the sums of their edges' scores.

import { Graph } from "./graph.js";

export const LAYERS = "layers";

/**
 * Return the graph whose nodes are groups: layers, or groups such as `a3.h1+a3.h2`.
 * @param {Graph} graph
 * @param {string[]} groups `["layers"]`, or the names of nodes joined by `+`; without groups the graph is returned
 */
export function grouped(graph, groups) {
  if (!groups.length) return graph;
  const parts = groups[0] === LAYERS ? layersOf(graph) : ownGroups(graph, groups);
  const rows = new Int32Array(graph.nodes.name.length).fill(-1);
  const nodes = { name: [], label: [], kind: [], layer: [], x: [], y: [], on: [], members: [] };
  const middle = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const put = (name, label, kind, members) => {
    members.forEach((row) => (rows[row] = nodes.name.length));
    nodes.name.push(name);
    nodes.label.push(label);
    nodes.kind.push(kind);
    nodes.layer.push(graph.nodes.layer[members[0]]);
    nodes.x.push(middle(members.map((row) => graph.nodes.x[row])));
    nodes.y.push(groups[0] === LAYERS ? graph.layout.body / 2 : middle(members.map((row) => graph.nodes.y[row])));
    nodes.on.push(members.some((row) => graph.nodes.on[row]));
    nodes.members.push(members);
  };
  for (const [name, label, members] of parts) put(name, label, "group", members);
  graph.nodes.name.forEach((name, row) => {
    if (rows[row] < 0) put(name, name.slice(name.lastIndexOf(".") + 1), graph.nodes.kind[row], [row]);
  });
  const edges = summed(graph, rows, nodes, groups[0] === LAYERS);
  const links = graph.links.map(([a, b]) => [rows[a], rows[b]]).filter(([a, b]) => a !== b);
  return new Graph({ nodes, edges, layout: graph.layout, links: groups[0] === LAYERS ? [] : links });
}

function layersOf(graph) {
  return graph.layout.bands.map(([layer]) => {
    const members = graph.nodes.layer.flatMap((other, row) => (other === layer ? [row] : []));
    return [`layer ${layer}`, `layer ${layer}`, members];
  });
}

function ownGroups(graph, groups) {
  const taken = new Set();
  return groups.flatMap((name) => {
    const members = name.split("+").flatMap((one) => graph.index.get(one) ?? []).filter((row) => !taken.has(row));
    members.forEach((row) => taken.add(row));
    if (members.length < 2) return [];
    return [[name, `${graph.nodes.name[members[0]]} +${members.length - 1}`, members]];
  });
}

/** The edges between groups, by sum of scores; edges within a group are left out. */
function summed(graph, rows, nodes, layers) {
  const { sender, receiver, port, score, bow } = graph.edges;
  const found = new Map();
  for (let edge = 0; edge < graph.size; edge += 1) {
    const from = rows[sender[edge]], to = rows[receiver[edge]];
    if (from === to) continue;
    const key = `${from} ${to} ${layers ? "" : port[edge]}`;
    if (!found.has(key)) {
      found.set(key, { from, to, port: layers ? "" : port[edge], score: 0, count: 0, bow: 0, rank: graph.edges.rank[edge] });
    }
    const one = found.get(key);
    one.score += score?.[edge] ?? 0;
    one.bow += bow[edge];
    one.count += 1;
  }
  const all = [...found.values()];
  all.sort((a, b) => Math.abs(b.score) - Math.abs(a.score) || b.count - a.count || a.rank - b.rank);
  const span = (one) => Math.abs(nodes.x[one.to] - nodes.x[one.from]) / (graph.layout.width / (graph.layout.bands.length + 2));
  return {
    sender: all.map((one) => one.from),
    receiver: all.map((one) => one.to),
    port: all.map((one) => one.port),
    bow: all.map((one) => (layers ? -24 * Math.max(0, span(one) - 1) : one.bow / one.count)),
    rank: all.map((_, i) => i + 1),
    score: score ? all.map((one) => one.score) : null,
    count: all.map((one) => one.count),
  };
}
