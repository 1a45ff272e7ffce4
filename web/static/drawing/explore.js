// A drawing with its controls, the panel of what is looked at, keys, downloads, and the table of the same edges.

import { copyButton, element } from "../app.js";
import { counted, table } from "../table.js";
import { csv, png, rowsOf, save, svgText } from "./exports.js";
import { grouped, LAYERS } from "./groups.js";
import { ORDERS } from "./graph.js";
import { fillPanel } from "./panel.js";
import { Picture } from "./picture.js";
import { COLOURS, isDark, legendOf } from "./strokes.js";

/** The state of a drawing, as it is in the URL. `n` 0 stands for the default number of edges. */
export const VIEW = { n: 0, order: "rank", by: "", pin: [], hide: false, path: false, group: [] };
/** As many edges as the report draws: with more, single edges cannot be followed. */
export const EDGES = 120;
const MOST_ROWS = 100;
const IDLE_MS = 120;

const KEYS = [
  ["arrows", "from node to node: along the strongest edge, or to the next node"],
  ["Enter, Shift+Enter", "pin the node; add it to the pinned nodes"],
  ["Esc", "free all pinned nodes"],
  ["p", "only paths from the input through a pinned node to the logits"],
  ["h", "only edges of pinned nodes"],
  ["g", "draw the pinned nodes as one"],
  ["/", "search: a3 finds a layer's heads, h1<q> edges into that port"],
  ["+ − 0", "zoom in, out, back"],
  ["f", "the drawing fills the window"],
  ["?", "this help"],
];

export class Explore {
  /**
   * @param {import("./graph.js").Graph} graph
   * @param {{state: object, save: () => void, label: string, name: string, colours: string[], copies?: [string, (view: object) => string][],
   *   follow?: (view: object, shown: number[], graph: object) => void}} options
   *   `state` has the keys of VIEW; `save` writes it into the URL; `name` begins the names of files; the first of `colours`
   *   is the default; `follow` is called with every view that is shown.
   */
  constructor(graph, options) {
    Object.assign(this, { whole: graph, options, state: options.state });
    this.panel = element("aside", { class: "panel", "aria-live": "polite", "aria-label": "What the pointer or the focus is on" });
    this.count = element("output", { class: "count" });
    this.legend = element("p", { class: "legend" });
    this.place = element("div", { class: "place" });
    this.rows = element("div", { class: "edge-table" });
    this.help = this._help();
    this.controls = element("div", { class: "controls" }, ...this._controls());
    this.figure = element("section", { class: "explore", "aria-label": options.label },
      this.controls, element("div", { class: "beside" }, this.place, this.panel), this.legend, this._downloads(), this.help);
    this.element = element("div", {}, this.figure, this.rows);
    this._onKey = (event) => this._key(event);
    document.addEventListener("keydown", this._onKey);
    addEventListener("popstate", () => this.refresh());
    this._build();
  }

  /** The view that is shown, with defaults filled in. */
  get view() {
    const { state, graph } = this;
    const order = graph.orders.includes(state.order) ? state.order : "rank";
    const by = this._colours().includes(state.by) ? state.by : this._colours()[0];
    const n = Math.min(graph.size, state.n > 0 ? Math.round(state.n) : EDGES);
    return { ...state, order, by, n };
  }

  /** Change a part of the view. */
  set(part) {
    const regrouped = "group" in part && String(part.group) !== String(this.state.group);
    Object.assign(this.state, part);
    this.options.save();
    if (regrouped) this._build();
    else this.refresh();
  }

  /** Show the state. */
  refresh() {
    const view = this.view;
    this.picture.update(view);
    this._sync(view);
    clearTimeout(this._idle);
    this._idle = setTimeout(() => this._table(), IDLE_MS);
  }

  _build() {
    this.graph = grouped(this.whole, this.state.group);
    Object.assign(this.graph, { names: this.whole.names, heads: this.whole.heads });
    this.picture?.remove();
    this.picture = new Picture(this.graph, {
      label: this.options.label,
      change: (part) => this.set(part),
      look: (what) => this._look(what),
    });
    this.place.replaceChildren(this.picture.element);
    this.refresh();
    this._look(null);
  }

  _colours() {
    const known = this.options.colours.filter((by) => this.graph.edges[COLOURS[by].needs]);
    return known.length ? known : ["score"];
  }

  _controls() {
    const { state } = this;
    const change = (name, value) => this.set({ [name]: value });
    this.slider = element("input", { type: "range", min: 1, class: "size", oninput: (event) => change("n", Number(event.target.value)) });
    this.order = element("select", { onchange: (event) => change("order", event.target.value) });
    this.by = element("select", { onchange: (event) => change("by", event.target.value) });
    this.hide = element("input", { type: "checkbox", onchange: (event) => change("hide", event.target.checked) });
    this.path = element("input", { type: "checkbox", onchange: (event) => change("path", event.target.checked) });
    this.group = element("select", { onchange: (event) => change("group", event.target.value ? event.target.value.split(",") : []) });
    this.search = element("input", { type: "search", placeholder: "a3, h1<q> …", size: 10, oninput: () => this._search(),
      onkeydown: (event) => this._searchKey(event) });
    const button = (text, label, act) => element("button", { type: "button", "aria-label": label, title: label, onclick: act }, text);
    return [
      element("label", { class: "wide" }, "Edges", this.slider), this.count,
      element("label", {}, "First by", this.order),
      element("label", {}, "Colour", this.by),
      element("label", {}, "Nodes", this.group),
      element("label", {}, "Search", this.search),
      element("label", { class: "check" }, this.hide, "only edges of pinned nodes"),
      element("label", { class: "check" }, this.path, "only paths through them"),
      element("span", { class: "buttons" },
        button("+", "Zoom in", () => this.picture.zoomBy(1.3)), button("−", "Zoom out", () => this.picture.zoomBy(1 / 1.3)),
        button("Free pins", "Free all pinned nodes", () => this.set({ pin: [] })),
        button("Full window", "The drawing fills the window", () => this._full()),
        button("?", "Keys", () => this._toggleHelp())),
    ];
  }

  _sync(view) {
    const { graph } = this;
    const shown = graph.shown(view);
    this.shown = shown;
    Object.assign(this.slider, { max: Math.max(1, graph.size), value: view.n });
    this.slider.setAttribute("aria-valuetext", `${view.n} of ${graph.size} edges`);
    this.counts = counts(graph, shown, this.whole);
    this.count.textContent = this.counts;
    options(this.order, graph.orders.map((key) => [key, ORDERS[key]]), view.order);
    options(this.by, this._colours().map((key) => [key, COLOURS[key].name]), view.by);
    const own = this.state.group.length && this.state.group[0] !== LAYERS ? [[String(this.state.group), "own groups"]] : [];
    options(this.group, [["", "each by itself"], [LAYERS, "by layer"], ...own], String(this.state.group));
    Object.assign(this.hide, { checked: view.hide });
    Object.assign(this.path, { checked: view.path });
    const samples = legendOf(graph, view.by, isDark()).map(([stroke, text]) => element("span", { class: "sample" }, sample(stroke), text));
    this.legend.replaceChildren(...samples,
      graph.edges.score ? element("span", { class: "quiet" }, "width: magnitude of the score") : "",
      view.pin.length ? element("span", {}, `pinned: ${view.pin.join(", ")}`) : "");
    this.options.follow?.(view, shown, graph);
  }

  _look(what) {
    const pins = this.state.pin.map((name) => this.graph.index.get(name)).filter((row) => row !== undefined);
    fillPanel(this.panel, this.graph, this.shown, what ?? (pins.length ? { nodes: [pins[pins.length - 1]] } : null),
      "Point at a node or an edge, or move with Tab and the arrows. A click pins a node.");
  }

  _table() {
    const edges = this.shown.slice(0, MOST_ROWS);
    const found = rowsOf(this.graph, edges);
    const text = `${counted(edges.length, this.shown.length, "edges of the drawing")}${edges.length < this.shown.length ? "; the files have all" : ""}`;
    this.rows.replaceChildren(element("h2", {}, "Edges"), table(found, { caption: text, cell: (name, value, row) => (
      name === "sender" || name === "receiver"
        ? element("button", { type: "button", class: "link", onclick: () => {
          this.set({ pin: [value] });
          this.picture.focus(value);
        } }, value)
        : name === "side" ? document.createTextNode(this.graph.names?.[value] ?? value) : null
    ) }));
  }

  _search() {
    const found = this.graph.find(this.search.value);
    this.search.setAttribute("aria-label", `Search: ${found.nodes.length} nodes, ${found.edges.length} edges`);
    this.picture.mark(this.search.value ? found : null);
  }

  _searchKey(event) {
    if (event.key === "Escape") {
      this.search.value = "";
      this._search();
      this.search.blur();
    }
    if (event.key !== "Enter") return;
    const { nodes, edges } = this.graph.find(this.search.value);
    const rows = new Set([...nodes, ...edges.map((edge) => this.graph.edges.receiver[edge])]);
    const pin = [...rows].filter((row) => this.graph.nodes.on[row]).map((row) => this.graph.nodes.name[row]);
    if (!pin.length) return;
    this.set({ pin });
    this.picture.focus(pin[0]);
  }

  _downloads() {
    const label = () => this.options.label;
    const svg = () => svgText(this.graph, this.shown, { by: this.view.by, label: label(), counts: this.counts });
    const file = (suffix) => `${this.options.name}-${this.shown.length}-edges.${suffix}`;
    const json = () => JSON.stringify({ label: label(), view: this.view, shown: this.shown.length, of: this.graph.size,
      ...rowsOf(this.graph, this.shown) });
    const button = (text, act) => element("button", { type: "button", onclick: act }, text);
    return element("p", { class: "downloads" }, "This view: ",
      button("SVG", () => save(file("svg"), svg(), "image/svg+xml")),
      button("PNG", async () => save(file("png"), await png(svg()))),
      button("CSV", () => save(file("csv"), csv(rowsOf(this.graph, this.shown)), "text/csv")),
      button("JSON", () => save(file("json"), json(), "application/json")),
      copyButton("Copy link", () => location.href),
      ...(this.options.copies ?? []).map(([name, text]) => copyButton(name, () => text(this.view, this._named()))));
  }

  /** Return the names of the shown edges if size, order and pins do not say which they are; otherwise null. */
  _named() {
    return this.graph === this.whole && this.view.path && this.view.pin.length
      ? this.shown.map((edge) => this.graph.edgeName(edge)) : null;
  }

  _help() {
    const rows = KEYS.map(([key, what]) => element("tr", {}, element("th", { scope: "row" }, key), element("td", {}, what)));
    return element("div", { class: "help", hidden: true, role: "note" }, element("table", {}, element("caption", {}, "Keys"),
      element("tbody", {}, ...rows)));
  }

  _toggleHelp() {
    this.help.hidden = !this.help.hidden;
  }

  _full() {
    this.figure.classList.toggle("full");
    this.picture.update(this.view);
  }

  _groupPins() {
    const pin = this.state.pin;
    if (pin.length < 2) return;
    const kept = this.state.group.filter((name) => name !== LAYERS && !pin.includes(name));
    this.set({ group: [...kept, pin.join("+")], pin: [] });
  }

  _key(event) {
    const here = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || here.closest?.("input, select, textarea")) return;
    if (here !== document.body && !this.figure.contains(here) && here.id !== "main") return;
    const act = {
      Escape: () => {
        this.figure.classList.remove("full");
        this.help.hidden = true;
        this.set({ pin: [] });
      },
      p: () => this.set({ path: !this.state.path }),
      h: () => this.set({ hide: !this.state.hide }),
      g: () => this._groupPins(),
      "/": () => this.search.focus(),
      "+": () => this.picture.zoomBy(1.3),
      "-": () => this.picture.zoomBy(1 / 1.3),
      0: () => this.picture.zoomOut(),
      f: () => this._full(),
      "?": () => this._toggleHelp(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}

/** `120 of 479 edges shown`, and what summed edges stand for. */
function counts(graph, shown, whole) {
  const text = counted(shown.length, graph.size, graph === whole ? "edges" : "summed edges");
  return graph === whole ? text : `${text}, of ${whole.size} edges`;
}

function options(select, choices, chosen) {
  if (select.dataset.choices !== String(choices)) {
    select.dataset.choices = String(choices);
    select.replaceChildren(...choices.map(([value, text]) => element("option", { value }, text)));
  }
  select.value = chosen;
}

function sample(stroke) {
  const line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  line.setAttribute("viewBox", "0 0 34 8");
  line.setAttribute("aria-hidden", "true");
  line.innerHTML = `<path d="M1 4h32" stroke="${stroke.colour}" stroke-width="${Math.max(2, stroke.width)}" stroke-dasharray="${stroke.dash.join(" ")}"/>`;
  return line;
}
