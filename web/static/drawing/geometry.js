// The curves of edges: the same as in the drawings of the report (circuits/layout.py).

/** The eight coordinates of an edge's curve: start, two control points, end. */
export function curve(graph, edge) {
  const { sender, receiver, port, bow } = graph.edges;
  return between(graph, sender[edge], receiver[edge], graph.layout.ports[port[edge]] ?? 0, bow[edge]);
}

/** The coordinates of a curve between two nodes. */
export function between(graph, sender, receiver, offset = 0, bow = 0) {
  const { x, y } = graph.nodes;
  const [share, least] = graph.layout.reach;
  const half = graph.layout.node[0] / 2;
  const x0 = x[sender] + half, y0 = y[sender], x1 = x[receiver] - half, y1 = y[receiver] + offset;
  const reach = Math.max(share * (x1 - x0), least);
  return [x0, y0, x0 + reach, y0 + bow, x1 - reach, y1 + bow, x1, y1];
}

/** The `d` attribute of a path, in whole pixels. */
export function path(points) {
  const [x0, y0, ax, ay, bx, by, x1, y1] = points.map(Math.round);
  return `M${x0} ${y0}C${ax} ${ay} ${bx} ${by} ${x1} ${y1}`;
}

/** The vertical distance of a point from a curve whose x grows; Infinity if the point is left or right of it. */
export function distance([x0, y0, ax, ay, bx, by, x1, y1], x, y) {
  if (x < Math.min(x0, x1) || x > Math.max(x0, x1)) return Infinity;
  const low = Math.min(y0, y1, ay, by), high = Math.max(y0, y1, ay, by);
  if (y < low - 8 || y > high + 8) return Infinity;
  let from = 0, to = 1;
  for (let step = 0; step < 9; step += 1) {
    const middle = (from + to) / 2;
    if (cubic(x0, ax, bx, x1, middle) < x) from = middle;
    else to = middle;
  }
  // a steep curve is nearer than its vertical distance says
  const slope = (cubic(y0, ay, by, y1, to) - cubic(y0, ay, by, y1, from)) /
    (cubic(x0, ax, bx, x1, to) - cubic(x0, ax, bx, x1, from) || 1);
  return Math.abs(cubic(y0, ay, by, y1, (from + to) / 2) - y) / Math.hypot(1, slope);
}

function cubic(a, b, c, d, t) {
  const s = 1 - t;
  return s * s * s * a + 3 * s * s * t * b + 3 * s * t * t * c + t * t * t * d;
}
