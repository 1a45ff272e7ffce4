// The scores of edges in two circuits against each other, as SVG: shape and colour say which circuit has the edge.

import { svgElement } from "./edges.js";
import { figure } from "./strokes.js";

const SIZE = 420, MARGIN = 46, DOT = 3.4;
/** Marks by side: a cross for edges of a only, a square for b only, a dot for both. */
const MARKS = {
  both: (x, y) => ["circle", { cx: x, cy: y, r: DOT - 1, fill: "var(--grey)", "fill-opacity": 0.7 }],
  a: (x, y) => ["path", { d: `M${x - DOT} ${y - DOT}l${2 * DOT} ${2 * DOT}m0 ${-2 * DOT}l${-2 * DOT} ${2 * DOT}`, stroke: "var(--orange)", "stroke-width": 1.6 }],
  b: (x, y) => ["rect", { x: x - DOT, y: y - DOT, width: 2 * DOT, height: 2 * DOT, fill: "var(--blue)" }],
};

/**
 * Return the scatter of some edges; edges whose scores are unknown are left out.
 * @param {import("./graph.js").Graph} graph with the columns `score_a`, `score_b` and `side`
 * @param {number[]} edges
 * @param {(edge: number) => void} open called when a mark is clicked
 */
export function scatter(graph, edges, open) {
  const { score_a: a, score_b: b, side } = graph.edges;
  const known = edges.filter((edge) => a[edge] !== null && b[edge] !== null);
  const values = known.flatMap((edge) => [a[edge], b[edge]]);
  const low = Math.min(0, ...values), high = Math.max(0, ...values, low + 1e-9);
  const at = (value) => MARGIN + ((value - low) / (high - low)) * (SIZE - 2 * MARGIN);
  const up = (value) => SIZE - at(value);
  const svg = svgElement("svg", { class: "scatter", viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img",
    "aria-label": `Scores of ${known.length} edges in a (across) and in b (up); the table has the same numbers` });
  const line = (x1, y1, x2, y2, dash) => svg.append(svgElement("line", { class: "axis", x1, y1, x2, y2, ...(dash ? { "stroke-dasharray": dash } : {}) }));
  line(at(low), up(0), at(high), up(0));
  line(at(0), up(low), at(0), up(high));
  line(at(low), up(low), at(high), up(high), "3 4");
  const words = (x, y, text, anchor = "middle") => {
    const label = svgElement("text", { x, y, "text-anchor": anchor });
    label.textContent = text;
    svg.append(label);
  };
  words(SIZE / 2, SIZE - 8, `score in a, ${figure(low)} to ${figure(high)}`);
  const vertical = svgElement("text", { "text-anchor": "middle", transform: `translate(14 ${SIZE / 2}) rotate(-90)` });
  vertical.textContent = "score in b, same scale";
  svg.append(vertical);
  words(at(high), up(high) - 6, "equal", "end");
  for (const edge of known.toReversed()) {
    const [name, attributes] = MARKS[side[edge]](at(a[edge]), up(b[edge]));
    const mark = svgElement(name, { ...attributes, fill: attributes.fill ?? "none" });
    const title = svgElement("title");
    title.textContent = `${graph.edgeName(edge)}: a ${figure(a[edge])}, b ${figure(b[edge])}`;
    mark.append(title);
    mark.addEventListener("click", () => open(edge));
    svg.append(mark);
  }
  return svg;
}
