// Points in a plane, each a link; shapes and colours tell series apart.

import { element } from "./app.js";
import { shown } from "./table.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640, HEIGHT = 320, LEFT = 56, BOTTOM = 44, TOP = 12, RIGHT = 12;
const SHAPES = {
  dot: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",
  diamond: "M0,-4.5L4.5,0L0,4.5L-4.5,0Z",
};

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Return round numbers between two limits. */
function ticks(low, high, count = 5) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

/**
 * Return a figure. `series` are `{name, shape, colour, filled, points: [{x, y, title, href}]}`; colours are custom
 * properties such as `--blue`. `lines` are values of y with a dashed line.
 */
export function scatter(series, { label, x, y, lines = [] }) {
  const points = series.flatMap((one) => one.points);
  const bounds = (values, always) => {
    const all = [...values, ...always];
    const [low, high] = all.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    return [low, high > low ? high : low + 1];
  };
  const [x0, x1] = bounds(points.map((p) => p.x), [0]);
  const [y0, y1] = bounds(points.map((p) => p.y), [0, ...lines]);
  const sx = (v) => LEFT + ((v - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT);
  const sy = (v) => HEIGHT - BOTTOM - ((v - y0) / (y1 - y0)) * (HEIGHT - BOTTOM - TOP);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": label, class: "scatter" });
  for (const value of ticks(y0, y1)) {
    picture.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: sy(value), y2: sy(value) }),
      svg("text", { x: LEFT - 6, y: sy(value) + 4, "text-anchor": "end" }, shown(value)));
  }
  for (const value of ticks(x0, x1)) {
    picture.append(svg("text", { x: sx(value), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, shown(value)));
  }
  for (const value of lines) {
    picture.append(svg("line", { class: "mark", x1: LEFT, x2: WIDTH - RIGHT, y1: sy(value), y2: sy(value) }));
  }
  picture.append(svg("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, x),
    svg("text", { transform: `translate(13 ${(HEIGHT - BOTTOM) / 2}) rotate(-90)`, "text-anchor": "middle" }, y));
  for (const one of series) {
    for (const point of one.points) {
      const mark = svg("path", { ...paint(one), d: SHAPES[one.shape],
        transform: `translate(${sx(point.x).toFixed(1)} ${sy(point.y).toFixed(1)})` }, svg("title", {}, point.title));
      picture.append(point.href ? svg("a", { href: point.href, "aria-label": point.title }, mark) : mark);
    }
  }
  const legend = series.map((one) => element("span", {},
    svg("svg", { viewBox: "-6 -6 12 12", width: 12, height: 12, "aria-hidden": "true" }, svg("path", { ...paint(one), d: SHAPES[one.shape] })),
    ` ${one.name}`));
  return element("figure", {}, picture, element("figcaption", { class: "legend" }, ...legend));
}

function paint({ colour, filled }) {
  return { fill: filled ? `var(${colour})` : "none", stroke: `var(${colour})`, "stroke-width": 1.4 };
}
