// A circuit's nodes and edges as columns, and what follows from them. Edges are in the order of their rank.

/**
 * @typedef {Object} Nodes
 * @property {string[]} name
 * @property {string[]} kind `input`, `head`, `mlp` …
 * @property {(number | null)[]} layer
 * @property {number[]} x
 * @property {number[]} y
 * @property {boolean[]} on whether the node is part of the circuit
 *
 * @typedef {Object} Edges Each column has one value per edge; a column is null if its values are unknown.
 * @property {number[]} sender row of the sender among the nodes
 * @property {number[]} receiver
 * @property {string[]} port `q`, `k`, `v` or empty
 * @property {number[]} bow vertical distance of the curve's control points
 * @property {number[]} rank 1 for the edge that was extracted first
 * @property {(number | null)[] | null} score
 * @property {(number | null)[] | null} [std]
 * @property {(number | null)[] | null} [frequency]
 * @property {string[] | null} [side] `both`, `a` or `b`
 * @property {(number | null)[] | null} [score_a]
 * @property {(number | null)[] | null} [score_b]
 * @property {number[] | null} [count] how many edges a summed edge stands for
 *
 * @typedef {Object} Place
 * @property {number} width
 * @property {number} body bottom of the drawing
 * @property {[number, number]} node width and height of a node
 * @property {Record<string, number>} ports vertical offset of the end of an edge, by port
 * @property {[number, number]} reach of a control point: share of the edge's width, and the least value
 * @property {[number, number, number][]} bands layer, left, right
 */

export const ORDERS = { rank: "the extraction's order", score: "|score|", frequency: "frequency" };

export class Graph {
  /** @param {{nodes: Nodes, edges: Edges, layout: Place, links?: [number, number][]}} data */
  constructor(data) {
    this.nodes = data.nodes;
    this.edges = data.edges;
    this.layout = data.layout;
    this.links = data.links ?? [];
    this.size = data.edges.sender.length;
    /** @type {Map<string, number>} */
    this.index = new Map(data.nodes.name.map((name, row) => [name, row]));
    this.incoming = rowsBy(data.edges.receiver, data.nodes.name.length);
    this.outgoing = rowsBy(data.edges.sender, data.nodes.name.length);
    /** @type {Record<string, Int32Array>} */
    this._orders = {};
  }

  /** The name of an edge, such as `a0.h1->a2.h0<q>`. */
  edgeName(edge) {
    const { sender, receiver, port } = this.edges;
    const to = this.nodes.name[receiver[edge]];
    return `${this.nodes.name[sender[edge]]}->${port[edge] ? `${to}<${port[edge]}>` : to}`;
  }

  /** The orders that this circuit has: by rank always, by score and frequency if they are known. */
  get orders() {
    return Object.keys(ORDERS).filter((key) => key === "rank" || this.edges[key]);
  }

  /** All edges, those that are shown first first. Equal values are in the order of their rank. */
  order(key) {
    if (!this._orders[key]) {
      const values = key === "rank" ? null : this.edges[key];
      const rows = Int32Array.from({ length: this.size }, (_, i) => i);
      if (values) rows.sort((a, b) => Math.abs(values[b] ?? 0) - Math.abs(values[a] ?? 0) || a - b);
      this._orders[key] = rows;
    }
    return this._orders[key];
  }

  /** The largest magnitude of a column; 1 if it has none, so that it can be divided by. */
  largest(key) {
    let most = 0;
    for (const value of this.edges[key] ?? []) most = Math.max(most, Math.abs(value ?? 0));
    return most || 1;
  }

  /**
   * The edges that a view shows, the strongest first.
   * @param {{n: number, order: string, pin: string[], hide: boolean, path: boolean}} view
   * @returns {number[]}
   */
  shown(view) {
    const first = Array.from(this.order(view.order).subarray(0, view.n));
    const pins = view.pin.map((name) => this.index.get(name)).filter((row) => row !== undefined);
    if (!pins.length) return first;
    if (view.path) return this.onPaths(first, pins);
    if (!view.hide) return first;
    const { sender, receiver } = this.edges;
    return first.filter((edge) => pins.includes(sender[edge]) || pins.includes(receiver[edge]));
  }

  /** Those of some edges that are on a path from a first node through one of the given nodes to a last node. */
  onPaths(edges, through) {
    const { sender, receiver } = this.edges;
    const pairs = [...edges.map((edge) => [sender[edge], receiver[edge]]), ...this.links];
    const incoming = new Map(), outgoing = new Map();
    for (const [from, to] of pairs) {
      add(incoming, to, from);
      add(outgoing, from, to);
    }
    const ends = (kind) => this.nodes.kind.flatMap((other, row) => (other === kind ? [row] : []));
    const fromInput = reached(ends("input"), outgoing), toLogits = reached(ends("logits"), incoming);
    const above = new Set(), below = new Set();
    for (const row of through) {
      if (!fromInput.has(row) || !toLogits.has(row)) continue;
      for (const one of reached([row], incoming)) if (fromInput.has(one)) above.add(edgeKey(one, row));
      for (const one of reached([row], outgoing)) if (toLogits.has(one)) below.add(edgeKey(one, row));
    }
    return edges.filter((edge) =>
      through.some(
        (row) =>
          (above.has(edgeKey(sender[edge], row)) && above.has(edgeKey(receiver[edge], row))) ||
          (below.has(edgeKey(sender[edge], row)) && below.has(edgeKey(receiver[edge], row))),
      ),
    );
  }

  /** The rows of nodes or edges whose name contains a text: `a3` a layer's heads, `h1<q>` edges into that port. */
  find(text) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return { nodes: [], edges: [] };
    const nodes = this.nodes.name.flatMap((name, row) => (matches(name, wanted) ? [row] : []));
    const edges = [];
    if (wanted.includes("<") || wanted.includes(">")) {
      for (let edge = 0; edge < this.size; edge += 1) if (this.edgeName(edge).includes(wanted)) edges.push(edge);
    }
    return { nodes, edges };
  }
}

/** A name matches if the text ends where a number ends: `a1` finds `a1.h0` and not `a10.h0`. */
function matches(name, wanted) {
  const at = name.indexOf(wanted);
  return at >= 0 && !/\d/.test(/\d$/.test(wanted) ? (name[at + wanted.length] ?? "") : "");
}

function edgeKey(one, other) {
  return one * 65536 + other;
}

function add(lists, key, value) {
  if (!lists.has(key)) lists.set(key, []);
  lists.get(key).push(value);
}

function reached(start, next) {
  const found = new Set(start), queue = [...start];
  for (let row; (row = queue.pop()) !== undefined; ) {
    for (const other of next.get(row) ?? []) {
      if (!found.has(other)) {
        found.add(other);
        queue.push(other);
      }
    }
  }
  return found;
}

function rowsBy(column, count) {
  const lists = Array.from({ length: count }, () => []);
  column.forEach((row, edge) => lists[row].push(edge));
  return lists;
}
