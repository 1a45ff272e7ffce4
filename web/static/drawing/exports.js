// What leaves a drawing: exactly the view that is shown, as SVG, PNG, CSV or JSON, and as texts that give the same edges.

import { element } from "../app.js";
import { pathText } from "./edges.js";
import { between, path } from "./geometry.js";
import { isDark, legendOf, strokesOf } from "./strokes.js";

const PIXELS = 2;

/** The drawing as the text of a self-contained SVG file, with the legend and the counts below. */
export function svgText(graph, shown, { by, label, counts }) {
  const { nodes, layout, links } = graph;
  const dark = isDark();
  const ink = dark
    ? { back: "#14181d", band: "#1c2229", text: "#a3adb8", box: "#1f252c", line: "#8b949e", name: "#e6e9ed" }
    : { back: "#ffffff", band: "#f4f6f9", text: "#57606a", box: "#ffffff", line: "#475569", name: "#1f2937" };
  const strokes = strokesOf(graph, by, dark);
  const width = Math.round(layout.width), height = Math.round(layout.body + 52);
  const bands = layout.bands.map(([layer, left, right]) =>
    (layer % 2 ? "" : `<rect x="${left}" y="0" width="${right - left}" height="${layout.body}" rx="6" fill="${ink.band}"/>`) +
    `<text x="${(left + right) / 2}" y="20" text-anchor="middle" fill="${ink.text}">${right - left > 60 ? "layer " : ""}${layer}</text>`);
  const contained = links.map(([a, b]) =>
    `<path d="${path(between(graph, a, b))}" fill="none" stroke="${ink.line}" stroke-dasharray="1 4"/>`);
  const edges = shown.toReversed().map((edge) => pathText(graph, edge, strokes(edge)));
  const boxes = nodes.name.flatMap((name, row) => (nodes.on[row] ? [box(graph, row, ink)] : []));
  let x = 16;
  const samples = legendOf(graph, by, dark).map(([stroke, text]) => {
    const at = x;
    x += 52 + 6.4 * text.length;
    const dash = stroke.dash.length ? ` stroke-dasharray="${stroke.dash.join(" ")}"` : "";
    return `<path d="M${at} ${layout.body + 14}h30" stroke="${stroke.colour}" stroke-width="${stroke.width}"${dash}/>` +
      `<text x="${at + 36}" y="${layout.body + 18}" fill="${ink.text}">${escaped(text)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" ` +
    `aria-label="${escaped(label)}" font-family="system-ui, sans-serif" font-size="11">` +
    `<rect width="${width}" height="${height}" rx="8" fill="${ink.back}"/>${bands.join("")}${contained.join("")}` +
    `<g fill="none" stroke-linecap="round">${edges.join("")}</g>${boxes.join("")}${samples.join("")}` +
    `<text x="16" y="${layout.body + 38}" fill="${ink.text}">${escaped(`${label}: ${counts}`)}</text></svg>`;
}

function box(graph, row, ink) {
  const { nodes, layout } = graph;
  const [width, height] = layout.node;
  const text = nodes.label?.[row] ?? nodes.name[row].slice(nodes.name[row].lastIndexOf(".") + 1);
  const wide = Math.max(width, 7 * text.length + 10);
  const x = Math.round(nodes.x[row]), y = Math.round(nodes.y[row]);
  return `<rect x="${x - wide / 2}" y="${y - height / 2}" width="${wide}" height="${height}" rx="6" fill="${ink.box}" stroke="${ink.line}">` +
    `<title>${escaped(nodes.name[row])}</title></rect><text x="${x}" y="${y + 4}" text-anchor="middle" fill="${ink.name}">${escaped(text)}</text>`;
}

function escaped(text) {
  return text.replace(/[&<>"]/g, (one) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[one]);
}

/** A drawing as the bytes of a PNG file. */
export async function png(svg) {
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: PIXELS * image.width, height: PIXELS * image.height });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  } finally {
    URL.revokeObjectURL(image.src);
  }
}

const COLUMNS = ["rank", "score", "std", "frequency", "side", "rank_a", "rank_b", "score_a", "score_b", "count"];

/** The columns and rows of some edges, with the columns that are known. */
export function rowsOf(graph, edges) {
  const { nodes } = graph;
  const known = COLUMNS.filter((name) => graph.edges[name]);
  return {
    columns: ["edge", "sender", "receiver", "port", ...known],
    rows: edges.map((edge) => [
      graph.edgeName(edge), nodes.name[graph.edges.sender[edge]], nodes.name[graph.edges.receiver[edge]], graph.edges.port[edge],
      ...known.map((name) => graph.edges[name][edge]),
    ]),
  };
}

/** Rows as CSV. */
export function csv({ columns, rows }) {
  const cell = (value) => (value === null || value === undefined ? "" : /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** Save a text or bytes as a file. */
export function save(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

const ORDER_CYPHER = { rank: "f.rank", score: "abs(f.score) DESC, f.rank", frequency: "f.frequency DESC, f.rank" };
const ORDER_PYTHON = {
  rank: '.sort_values("rank")',
  score: '.sort_values("rank").sort_values("score", key=abs, ascending=False, kind="stable")',
  frequency: '.sort_values("rank").sort_values("frequency", ascending=False, kind="stable")',
};

/** The Cypher that returns the edges that a view of a circuit shows, those of groups one by one; `edges` names them if not null. */
export function cypher(id, view, edges = null) {
  if (edges) {
    return `MATCH (:Circuit {id: '${id}'})-[:HAS]->(s:Node)-[f:FEEDS]->(r:Node)
WHERE f.edge IN ${list(edges)}
RETURN f.edge AS edge, s.name AS sender, r.name AS receiver, f.port AS port, f.rank AS rank, f.score AS score, f.std AS std,
  f.frequency AS frequency
ORDER BY rank`;
  }
  const pins = view.hide && view.pin.length ? `\nWHERE s.name IN ${list(view.pin)} OR r.name IN ${list(view.pin)}` : "";
  return `MATCH (:Circuit {id: '${id}'})-[:HAS]->(s:Node)-[f:FEEDS]->(r:Node)
WITH s, f, r
ORDER BY ${ORDER_CYPHER[view.order]}
LIMIT ${view.n}${pins ? `\nWITH s, f, r${pins}` : ""}
RETURN f.edge AS edge, s.name AS sender, r.name AS receiver, f.port AS port, f.rank AS rank, f.score AS score, f.std AS std,
  f.frequency AS frequency
ORDER BY rank`;
}

/** The Python that returns the same edges. */
export function python(id, view, folder, edges = null) {
  const pins = edges ? `    edges = edges[edges["edge"].isin(${list(edges)})]\n` : view.hide && view.pin.length
    ? `    pins = ${list(view.pin)}\n    edges = edges[edges["sender"].isin(pins) | edges["receiver"].isin(pins)]\n` : "";
  return `import circuitstore as cs

with cs.open_store(${JSON.stringify(folder)}) as store:
    circuit = store.circuit("${id}")
    edges = circuit.to_pandas()${ORDER_PYTHON[view.order]}.head(${view.n})
${pins}    circuit.draw(max_edges=${view.n}).save("circuit.svg")
`;
}

function list(names) {
  return JSON.stringify(names).replaceAll('","', '", "');
}
