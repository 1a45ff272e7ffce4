// The drawing of a circuit: nodes that can be focused, edges below them, pins, hovering, walking and zooming.

import { CanvasEdges, MOST_PATHS, PathEdges, pathText, svgElement } from "./edges.js";
import { between, curve, distance, path } from "./geometry.js";
import { isDark, strokesOf } from "./strokes.js";

const NEAR = 5;
const ZOOM = 1.3;

export class Picture {
  /**
   * @param {import("./graph.js").Graph} graph
   * @param {{label: string, change?: (part: object) => void, look?: (what: object | null) => void}} options
   *   Without `change` the drawing is a picture, whose nodes are no buttons. `change` is called with the part of the view that the user changed; `look` with the rows `{nodes}` or
   *   `{edges}` that the pointer or the focus is on, or that a search found, or null.
   */
  constructor(graph, options) {
    Object.assign(this, { graph, options, view: null, shown: [], looked: null });
    this.zoom = { k: 1, x: 0, y: 0 };
    this.element = document.createElement("div");
    this.element.className = "drawing";
    this.paths = new PathEdges(graph);
    this.canvas = new CanvasEdges(graph);
    this.svg = this._svg();
    this.element.append(this.canvas.element, this.svg);
    if (options.change) this._listen();
    this._resizing = new ResizeObserver(() => this._show());
    this._resizing.observe(this.element);
    this._scheme = matchMedia("(prefers-color-scheme: dark)");
    this._restyle = () => {
      this._by = null;
      this._show();
    };
    this._scheme.addEventListener("change", this._restyle);
  }

  /** Remove the drawing and what it listens to. */
  remove() {
    this._resizing.disconnect();
    this._scheme.removeEventListener("change", this._restyle);
    this.element.remove();
  }

  /** Show a view. Several calls within a frame are drawn once. */
  update(view) {
    this.view = view;
    if (this._waiting) return;
    this._waiting = requestAnimationFrame(() => {
      this._waiting = 0;
      this._show();
    });
  }

  /** Resolves when everything is drawn. */
  async drawn() {
    while (this._waiting) await new Promise(requestAnimationFrame);
    await this._drawing;
  }

  /** Show edges and nodes that a search found above the others; null ends it. */
  mark(found) {
    this._look(found && { nodes: found.nodes, edges: found.edges });
  }

  /** Move the focus to a node. */
  focus(name) {
    const row = this.graph.index.get(name);
    if (row !== undefined) this._focus(row);
  }

  _svg() {
    const { layout, nodes, links } = this.graph;
    const svg = svgElement("svg", {
      viewBox: `0 0 ${Math.round(layout.width)} ${Math.round(layout.body)}`,
      role: this.options.change ? "group" : "img",
      "aria-label": this.options.label,
      "font-size": 11,
    });
    this.scene = svgElement("g");
    this.bands = svgElement("g", { class: "bands" });
    for (const [layer, left, right] of layout.bands) {
      const wide = right - left;
      if (layer % 2 === 0) this.bands.append(svgElement("rect", { x: left, y: 0, width: wide, height: layout.body, rx: 6 }));
      const text = svgElement("text", { x: (left + right) / 2, y: 20, "text-anchor": "middle" });
      text.textContent = wide > 60 ? `layer ${layer}` : layer;
      this.bands.append(text);
    }
    const contained = svgElement("g", { class: "links", fill: "none" });
    for (const [above, below] of links) contained.append(svgElement("path", { d: path(between(this.graph, above, below)) }));
    this.top = svgElement("g", { class: "top", fill: "none", "stroke-linecap": "round" });
    this.nodes = nodes.name.map((_, row) => this._node(row));
    const boxes = svgElement("g", { class: "nodes" });
    boxes.append(...this.nodes);
    this.scene.append(this.bands, contained, this.paths.element, this.top, boxes);
    svg.append(this.scene);
    return svg;
  }

  _node(row) {
    const { nodes, layout } = this.graph;
    const [width, height] = layout.node;
    const on = nodes.on[row];
    const group = svgElement("g", {
      class: `node ${nodes.kind[row]}${on ? "" : " off"}`,
      transform: `translate(${Math.round(nodes.x[row])} ${Math.round(nodes.y[row])})`,
      "data-node": row,
    });
    const name = nodes.name[row];
    const short = nodes.label?.[row] ?? name.slice(name.lastIndexOf(".") + 1);
    const wide = Math.max(width, 7 * short.length + 10);
    const text = svgElement("text", { y: 4, "text-anchor": "middle" });
    text.textContent = short;
    group.append(svgElement("rect", { x: -wide / 2, y: -height / 2, width: wide, height, rx: 6 }), text);
    if (on && this.options.change) group.setAttribute("role", "button");
    else group.setAttribute("aria-hidden", "true");
    return group;
  }

  _strokes() {
    const by = this.view.by;
    if (this._by !== by) {
      this._by = by;
      this.strokes = strokesOf(this.graph, by, isDark());
    }
    return this.strokes;
  }

  _show() {
    if (!this.view || !this.element.isConnected) return;
    const strokes = this._strokes();
    this.shown = this.graph.shown(this.view);
    const many = this.shown.length > MOST_PATHS;
    this.element.classList.toggle("many", many);
    this._fit(many);
    this.paths.show(many ? [] : this.shown, strokes);
    if (many || this.canvas._drawn.length) {
      this._drawing = this.canvas.show(many ? this.shown : [], strokes, this._transform());
    }
    this._mark();
  }

  /** Give the canvas the size of the drawing on the screen. */
  _fit(many) {
    if (!many) return;
    const box = this.svg.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    const width = Math.round(box.width * scale), height = Math.round(box.height * scale);
    const canvas = this.canvas.element;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  }

  _transform() {
    const scale = this.canvas.element.width / Math.round(this.graph.layout.width) || 1;
    return { k: this.zoom.k * scale, x: this.zoom.x * scale, y: this.zoom.y * scale };
  }

  /** Show pins, the node or edge that is looked at, and their edges above the others. */
  _mark() {
    const { sender, receiver } = this.graph.edges;
    const pins = this.view.pin.map((name) => this.graph.index.get(name)).filter((row) => row !== undefined);
    const chosen = new Set(this._chosen(pins));
    const named = this.looked?.edges ?? [];
    const edges = named.length
      ? this.shown.filter((edge) => named.includes(edge))
      : chosen.size
        ? this.shown.filter((edge) => chosen.has(sender[edge]) || chosen.has(receiver[edge]))
        : [];
    const all = edges.length === this.shown.length;
    this.top.innerHTML = all ? "" : edges.toReversed().map((edge) => pathText(this.graph, edge, bold(this.strokes(edge)))).join("");
    this.element.classList.toggle("dim", edges.length > 0 && !all);
    const near = new Set([...chosen, ...edges.flatMap((edge) => [sender[edge], receiver[edge]])]);
    if (!this.options.change) return;
    const counts = this._counts();
    const focused = this._focused ?? pins[0] ?? this.graph.nodes.on.indexOf(true);
    this.nodes.forEach((element, row) => {
      if (!this.graph.nodes.on[row]) return;
      const pinned = pins.includes(row);
      element.classList.toggle("pinned", pinned);
      element.classList.toggle("near", near.has(row));
      element.setAttribute("aria-pressed", pinned);
      element.setAttribute("tabindex", row === focused ? 0 : -1);
      element.setAttribute("aria-label", `${this.graph.nodes.name[row]}, ${counts[0][row]} in, ${counts[1][row]} out`);
    });
  }

  /** The nodes whose edges are shown above the others: those looked at, otherwise the pinned ones. */
  _chosen(pins) {
    if (!this.looked) return pins;
    return this.looked.nodes ?? [];
  }

  _counts() {
    if (this._counted !== this.shown) {
      const size = this.graph.nodes.name.length;
      this._numbers = [new Int32Array(size), new Int32Array(size)];
      for (const edge of this.shown) {
        this._numbers[0][this.graph.edges.receiver[edge]] += 1;
        this._numbers[1][this.graph.edges.sender[edge]] += 1;
      }
      this._counted = this.shown;
    }
    return this._numbers;
  }

  _look(what) {
    if (String(what?.nodes) === String(this.looked?.nodes) && String(what?.edges) === String(this.looked?.edges)) return;
    this.looked = what;
    this._mark();
    this.options.look(what);
  }

  _focus(row) {
    this._focused = row;
    this.nodes[row].focus({ preventScroll: true });
    this._mark();
  }

  _pin(row, more) {
    const name = this.graph.nodes.name[row];
    const pins = this.view.pin;
    const pin = pins.includes(name)
      ? pins.filter((other) => other !== name)
      : more ? [...pins, name] : [name];
    this.options.change({ pin });
  }

  _listen() {
    const rowOf = (event) => {
      const element = event.target.closest?.(".node:not(.off)");
      return element ? Number(element.dataset.node) : undefined;
    };
    this.svg.addEventListener("click", (event) => {
      const row = rowOf(event);
      if (row !== undefined) this._pin(row, event.shiftKey);
    });
    this.svg.addEventListener("focusin", (event) => {
      const row = rowOf(event);
      if (row === undefined) return;
      this._focused = row;
      this._look({ nodes: [row] });
    });
    this.svg.addEventListener("focusout", () => this._look(null));
    this.svg.addEventListener("pointerleave", () => this._look(null));
    this.svg.addEventListener("pointermove", (event) => {
      if (this._drag) this._pan(event);
      else this._point(event, rowOf(event));
    });
    this.svg.addEventListener("pointerdown", (event) => {
      if (rowOf(event) === undefined) this._drag = { x: event.clientX, y: event.clientY };
    });
    for (const name of ["pointerup", "pointerleave", "pointercancel"]) {
      this.svg.addEventListener(name, () => (this._drag = null));
    }
    this.svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the wheel scrolls the page
      event.preventDefault();
      this.zoomBy(event.deltaY < 0 ? ZOOM : 1 / ZOOM, this._at(event));
    }, { passive: false });
    this.svg.addEventListener("keydown", (event) => this._key(event, rowOf(event)));
  }

  _point(event, row) {
    if (row !== undefined) {
      this._look({ nodes: [row] });
      return;
    }
    const { x, y } = this._at(event);
    const at = [(x - this.zoom.x) / this.zoom.k, (y - this.zoom.y) / this.zoom.k];
    let nearest = NEAR, found;
    for (const edge of this.shown) {
      const apart = distance(curve(this.graph, edge), ...at);
      if (apart < nearest) [nearest, found] = [apart, edge];
    }
    this._look(found === undefined ? null : { edges: [found] });
  }

  /** The position of the pointer in the coordinates of the drawing. */
  _at(event) {
    const box = this.svg.getBoundingClientRect();
    const scale = Math.round(this.graph.layout.width) / box.width;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  }

  _pan(event) {
    const scale = Math.round(this.graph.layout.width) / this.svg.getBoundingClientRect().width;
    this.zoom.x += (event.clientX - this._drag.x) * scale;
    this.zoom.y += (event.clientY - this._drag.y) * scale;
    this._drag = { x: event.clientX, y: event.clientY };
    this._place();
  }

  /** Zoom by a factor around a point of the drawing, its middle by default. */
  zoomBy(factor, at = { x: this.graph.layout.width / 2, y: this.graph.layout.body / 2 }) {
    const k = Math.min(8, Math.max(1, this.zoom.k * factor));
    const ratio = k / this.zoom.k;
    this.zoom = { k, x: at.x - ratio * (at.x - this.zoom.x), y: at.y - ratio * (at.y - this.zoom.y) };
    this._place();
  }

  /** Show the whole drawing. */
  zoomOut() {
    this.zoom = { k: 1, x: 0, y: 0 };
    this._place();
  }

  _place() {
    const { width, body } = this.graph.layout;
    this.zoom.x = Math.min(0, Math.max(width * (1 - this.zoom.k), this.zoom.x));
    this.zoom.y = Math.min(0, Math.max(body * (1 - this.zoom.k), this.zoom.y));
    this.scene.setAttribute("transform", `translate(${this.zoom.x} ${this.zoom.y}) scale(${this.zoom.k})`);
    this.update(this.view);
  }

  _key(event, row) {
    if (row === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    const next = { ArrowRight: () => this._along(row, "out"), ArrowLeft: () => this._along(row, "in"),
      ArrowDown: () => this._beside(row, 1), ArrowUp: () => this._beside(row, -1) }[event.key];
    if (next) {
      event.preventDefault();
      const to = next();
      if (to !== undefined) this._focus(to);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this._pin(row, event.shiftKey);
    }
  }

  /** The other end of the strongest shown edge out of a node, or into it. */
  _along(row, side) {
    const { sender, receiver } = this.graph.edges;
    const [own, other] = side === "out" ? [sender, receiver] : [receiver, sender];
    const edge = this.shown.find((one) => own[one] === row);
    return edge === undefined ? undefined : other[edge];
  }

  /** The next node of the circuit in the same layer, or in the next one. */
  _beside(row, step) {
    const on = this.graph.nodes.on;
    for (let other = row + step; other >= 0 && other < on.length; other += step) if (on[other]) return other;
    return undefined;
  }
}

function bold(stroke) {
  return { ...stroke, width: Math.max(stroke.width, 1.4), opacity: Math.max(stroke.opacity, 0.95) };
}
