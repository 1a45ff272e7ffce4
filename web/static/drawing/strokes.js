// Widths, colours and dashes of edges. Nothing is shown by colour only: sign, port and side also have a dash.

const LIGHT = {
  raises: [[158, 202, 225], [8, 69, 148]],
  lowers: [[253, 190, 133], [150, 52, 4]],
  share: [[188, 189, 220], [74, 20, 134]],
  plain: "#64748b",
  both: "#9aa7b8",
  a: "#b45309",
  b: "#084594",
  q: "#084594",
  k: "#963404",
  v: "#00695c",
};
const DARK = {
  raises: [[49, 84, 124], [147, 197, 253]],
  lowers: [[120, 66, 24], [253, 186, 116]],
  share: [[80, 70, 120], [216, 180, 254]],
  plain: "#94a3b8",
  both: "#64748b",
  a: "#fdba74",
  b: "#93c5fd",
  q: "#93c5fd",
  k: "#fdba74",
  v: "#5eead4",
};
const THIN = 0.7, WIDE = 6, PLAIN = 1.2;
export const DASHES = { lowers: [7, 3], k: [7, 3], v: [2, 3], a: [2, 4], b: [9, 3] };

/** What each choice of colours shows, and the column it needs. */
export const COLOURS = {
  score: { name: "score", needs: "score" },
  frequency: { name: "frequency", needs: "frequency" },
  port: { name: "port (q, k, v)", needs: "port" },
  side: { name: "gained and lost", needs: "side" },
  difference: { name: "difference b − a", needs: "score_b" },
};

/** Whether colours for a dark background are wanted. */
export function isDark() {
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/**
 * The stroke of each edge of a graph.
 * @returns {(edge: number) => {colour: string, width: number, opacity: number, dash: number[]}}
 */
export function strokesOf(graph, by, dark) {
  const colours = dark ? DARK : LIGHT;
  const edges = graph.edges;
  const largest = graph.largest("score");
  const width = (edge) => (edges.score ? wide(Math.abs(edges.score[edge] ?? 0) / largest) : PLAIN);
  if (by === "port") {
    return (edge) => {
      const port = edges.port[edge];
      return stroke(colours[port] ?? colours.plain, width(edge), 0.75, DASHES[port]);
    };
  }
  if (by === "side" && edges.side) {
    return (edge) => {
      const side = edges.side[edge];
      return stroke(colours[side], Math.max(width(edge), side === "both" ? THIN : 1.4), side === "both" ? 0.55 : 0.9, DASHES[side]);
    };
  }
  if (by === "frequency" && edges.frequency) {
    return (edge) => scored(colours.share, edges.frequency[edge] ?? 0, 1);
  }
  if (by === "difference" && edges.score_a && edges.score_b) {
    const difference = (edge) => (edges.score_b[edge] ?? 0) - (edges.score_a[edge] ?? 0);
    let most = 0;
    for (let edge = 0; edge < graph.size; edge += 1) most = Math.max(most, Math.abs(difference(edge)));
    return (edge) => signed(colours, difference(edge), most || 1);
  }
  if (edges.score) return (edge) => signed(colours, edges.score[edge] ?? 0, largest);
  return () => stroke(colours.plain, PLAIN, 0.6);
}

/** Samples of strokes with what they stand for. */
export function legendOf(graph, by, dark) {
  const colours = dark ? DARK : LIGHT;
  if (by === "port") {
    return ["q", "k", "v"].map((port) => [stroke(colours[port], 2.5, 1, DASHES[port]), `into ${port}`])
      .concat([[stroke(colours.plain, 2.5, 1), "no port"]]);
  }
  if (by === "side") {
    const named = graph.names ?? { a: "only in a", b: "only in b", both: "in both" };
    return ["both", "b", "a"].map((side) => [stroke(colours[side], 3, 1, DASHES[side]), named[side]]);
  }
  if (by === "frequency") return [0.3, 1].map((share) => [scored(colours.share, share, 1), `in ${share * 100} % of samples`]);
  if (!graph.edges.score) return [];
  const most = by === "difference" ? 1 : graph.largest("score");
  const text = (value, words) => (by === "difference" ? words : `${words} (to ${figure(value)})`);
  return [
    [signed(colours, most, most), text(most, by === "difference" ? "larger in b" : "raises the metric")],
    [signed(colours, -most, most), text(-most, by === "difference" ? "smaller in b" : "lowers the metric")],
  ];
}

/** A number with its sign and three digits; a dash if it is unknown. */
export function figure(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const text = Number(value.toPrecision(digits)).toString().replace("-", "−");
  return value > 0 ? `+${text}` : text;
}

function signed(colours, value, largest) {
  return value < 0
    ? scored(colours.lowers, -value, largest, DASHES.lowers)
    : scored(colours.raises, value, largest);
}

function scored([pale, dark], value, largest, dash) {
  const strength = Math.min(value / largest, 1);
  const share = strength ** 0.6;
  const mixed = pale.map((part, i) => Math.round(part + (dark[i] - part) * share));
  return stroke(`rgb(${mixed.join(",")})`, wide(strength), 0.55 + 0.4 * strength, dash);
}

function wide(strength) {
  return THIN + (WIDE - THIN) * Math.min(strength, 1);
}

function stroke(colour, width, opacity, dash = []) {
  return { colour, width, opacity, dash };
}
