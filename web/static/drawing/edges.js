// Edges below the nodes: SVG paths while they are few, a canvas when they are many.

import { curve, path } from "./geometry.js";

export const MOST_PATHS = 1500;
/** Edges that a canvas draws in one frame at first; the number follows how long frames take. */
const CHUNK = 1200;
const FRAME_MS = 24;

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element with attributes. */
export function svgElement(name, attributes = {}) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** The text of an SVG path for an edge: numbers only, so that no name can be markup. */
export function pathText(graph, edge, stroke) {
  const dash = stroke.dash.length ? ` stroke-dasharray="${stroke.dash.join(" ")}"` : "";
  return (
    `<path d="${path(curve(graph, edge))}" stroke="${stroke.colour}" stroke-width="${stroke.width.toFixed(2)}" ` +
    `stroke-opacity="${stroke.opacity.toFixed(2)}"${dash}/>`
  );
}

/** Paths in a group: the strongest is the last child, so it is on top. */
export class PathEdges {
  constructor(graph) {
    this.graph = graph;
    this.element = svgElement("g", { class: "edges", fill: "none", "stroke-linecap": "round" });
    this._drawn = [];
    this._strokes = null;
  }

  /** Show edges, given the strongest first. */
  show(edges, strokes) {
    const before = this._drawn;
    const common = strokes === this._strokes ? sharedStart(before, edges) : 0;
    if (common && common === before.length) {
      this.element.insertAdjacentHTML("afterbegin", this._text(edges.slice(common), strokes));
    } else if (common && common === edges.length) {
      for (let i = before.length; i > common; i -= 1) this.element.firstElementChild.remove();
    } else {
      this.element.innerHTML = this._text(edges, strokes);
    }
    this._drawn = edges;
    this._strokes = strokes;
  }

  _text(edges, strokes) {
    const parts = new Array(edges.length);
    for (let i = 0; i < edges.length; i += 1) {
      const edge = edges[edges.length - 1 - i];
      parts[i] = pathText(this.graph, edge, strokes(edge));
    }
    return parts.join("");
  }
}

/** A canvas that draws the strongest edges at once and weaker ones below them in the next frames. */
export class CanvasEdges {
  constructor(graph) {
    this.graph = graph;
    this.element = document.createElement("canvas");
    this.element.setAttribute("aria-hidden", "true");
    this._drawn = [];
    this._done = 0;
    this._frame = 0;
    this._chunk = CHUNK;
    this._key = "";
    this._curves = new Array(graph.size);
  }

  /**
   * Show edges, given the strongest first.
   * @param {{k: number, x: number, y: number}} transform of the drawing, in pixels of the canvas
   * @returns {Promise<void>} resolved when the last edge is drawn, or when another call replaces this one
   */
  show(edges, strokes, transform) {
    cancelAnimationFrame(this._frame);
    this._resolve?.();
    const { width, height } = this.element;
    const key = `${transform.k} ${transform.x} ${transform.y} ${width} ${height}`;
    const context = this.element.getContext("2d");
    const kept = key === this._key && strokes === this._strokes ? sharedStart(this._drawn, edges) : 0;
    if (kept < this._drawn.length) {
      // drawn edges cannot be taken back: everything is drawn again
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, width, height);
      this._done = 0;
    }
    Object.assign(this, { _drawn: edges, _strokes: strokes, _key: key });
    context.setTransform(transform.k, 0, 0, transform.k, transform.x, transform.y);
    context.lineCap = "round";
    context.globalCompositeOperation = "destination-over"; // weaker edges come later and are below
    return new Promise((resolve) => {
      this._resolve = resolve;
      this._draw(context, performance.now());
    });
  }

  _draw(context, started) {
    const end = Math.min(this._done + this._chunk, this._drawn.length);
    for (; this._done < end; this._done += 1) {
      const edge = this._drawn[this._done];
      const stroke = this._strokes(edge);
      const points = (this._curves[edge] ??= curve(this.graph, edge));
      context.strokeStyle = stroke.colour;
      context.globalAlpha = stroke.opacity;
      context.lineWidth = stroke.width;
      context.setLineDash(stroke.dash);
      context.beginPath();
      context.moveTo(points[0], points[1]);
      context.bezierCurveTo(points[2], points[3], points[4], points[5], points[6], points[7]);
      context.stroke();
    }
    if (this._done === this._drawn.length) {
      this._resolve();
      return;
    }
    this._frame = requestAnimationFrame((now) => {
      const took = now - started;
      this._chunk = Math.round(Math.max(200, Math.min(4000, this._chunk * (took > FRAME_MS ? 0.8 : 1.3))));
      this._draw(context, now);
    });
  }
}

/** The number of equal values at the start of two lists. */
function sharedStart(a, b) {
  const most = Math.min(a.length, b.length);
  let count = 0;
  while (count < most && a[count] === b[count]) count += 1;
  return count;
}
