// A square heat map on a canvas: one cell for each pair of labels, with hatched cells, zoom and a cursor for the keyboard.
// An own canvas paints a million cells in one frame, and loads nothing.

const LIGHT = {
  paper: "#ffffff", ink: "#1f2937", faint: "#64748b", hatch: ["rgba(15, 23, 42, 0.75)", "rgba(255, 255, 255, 0.75)"], unknown: "#eceff3", cursor: "#d9730d",
  ramp: [[0, "#f7fbff"], [0.1, "#deebf7"], [0.2, "#c6dbef"], [0.35, "#9ecae1"], [0.5, "#6baed6"], [0.7, "#3182bd"], [1, "#08306b"]],
  low: "#d9730d",
};
const DARK = {
  paper: "#14181d", ink: "#e5e9f0", faint: "#9aa5b5", hatch: ["rgba(255, 255, 255, 0.8)", "rgba(10, 14, 22, 0.8)"], unknown: "#262c36", cursor: "#f2a65a",
  ramp: [[0, "#1b2230"], [0.1, "#1d2f47"], [0.2, "#1f3f63"], [0.35, "#245a8c"], [0.5, "#3a7cb8"], [0.7, "#74abdc"], [1, "#e3f1ff"]],
  low: "#f2a65a",
};
const FONT = "12px system-ui, sans-serif";
const MAX_SIDE = 720; // pixels
const MAX_CELL = 64; // pixels
const MIN_SPAN = 4; // cells
const LABELLED = 9; // pixels of a cell from which labels are drawn
const NUMBERED = 34; // pixels of a cell from which its number is drawn
const LEGEND = 66; // pixels
const LEGEND_WIDTH = 420; // pixels
const BAR = 220; // pixels

const dark = window.matchMedia("(prefers-color-scheme: dark)");

export class HeatMap {
  // host: an element. shown: {labels, order, value(i, j), hatched(i, j), low, high, ticks, hatchText, describe(i, j), name}; i and j
  // are numbers of labels, `order` lists them as they are drawn. open(i, j) is called for a chosen cell, moved(view) after a zoom.
  constructor(host, { open, moved }) {
    Object.assign(this, { host, open, moved, cursor: null });
    this.canvas = document.createElement("canvas");
    this.tip = Object.assign(document.createElement("div"), { className: "heatmap-tip", hidden: true });
    this.status = Object.assign(document.createElement("p"), { className: "visually-hidden" });
    this.status.setAttribute("aria-live", "polite");
    host.classList.add("heatmap");
    host.tabIndex = 0;
    host.setAttribute("role", "application");
    host.setAttribute("aria-roledescription", "heat map");
    host.replaceChildren(this.canvas, this.tip, this.status);
    this.#listen();
  }

  show(shown, view = null) {
    const same = this.shown && this.shown.labels.length === shown.labels.length;
    this.shown = shown;
    const count = shown.labels.length;
    this.view = view ?? (same ? this.view : { row: 0, column: 0, span: count });
    this.host.setAttribute("aria-label", `${shown.name}. Arrow keys move, Enter opens the difference, plus and minus zoom.`);
    this.#paintCells();
    this.draw();
  }

  // Zooms by a factor around a cell; 0 shows everything.
  zoom(factor, at = this.cursor ?? this.#middle()) {
    const count = this.shown.labels.length;
    const span = factor === 0 ? count : Math.max(Math.min(MIN_SPAN, count), Math.min(count, Math.round(this.view.span * factor)));
    const first = (place, start) => {
      const kept = Math.round(place - ((place - start) / this.view.span) * span);
      return Math.max(0, Math.min(count - span, kept));
    };
    this.#look({ row: first(at.row, this.view.row), column: first(at.column, this.view.column), span });
  }

  // Calls back with the picture as a PNG.
  toBlob(callback) {
    this.canvas.toBlob(callback, "image/png");
  }

  #look(view) {
    this.view = view;
    this.tip.hidden = true;
    this.draw();
    this.moved(view);
  }

  #middle() {
    const half = Math.floor(this.view.span / 2);
    return { row: this.view.row + half, column: this.view.column + half };
  }

  // Paints every cell as one pixel, and the hatched ones as a mask; `draw` enlarges them.
  #paintCells() {
    const { labels, order, value, hatched, low, high } = this.shown;
    const count = labels.length;
    const theme = dark.matches ? DARK : LIGHT;
    const palette = ramp(theme, low < 0);
    const unknown = rgb(theme.unknown);
    [this.cells, this.mask] = [0, 1].map(() => Object.assign(document.createElement("canvas"), { width: count, height: count }));
    const [cells, mask] = [this.cells, this.mask].map((canvas) => canvas.getContext("2d"));
    const colours = cells.createImageData(count, count);
    const marks = mask.createImageData(count, count);
    for (let row = 0, at = 0; row < count; row++) {
      for (let column = 0; column < count; column++, at += 4) {
        const i = order[row], j = order[column];
        const number = value(i, j);
        const shade = Number.isNaN(number) ? -1 : Math.max(0, Math.min(255, Math.round((255 * (number - low)) / (high - low))));
        for (let part = 0; part < 3; part++) colours.data[at + part] = shade < 0 ? unknown[part] : palette[3 * shade + part];
        colours.data[at + 3] = 255;
        if (hatched(i, j)) marks.data[at + 3] = 255;
      }
    }
    cells.putImageData(colours, 0, 0);
    mask.putImageData(marks, 0, 0);
  }

  draw() {
    if (!this.shown) return;
    const theme = dark.matches ? DARK : LIGHT;
    const { labels, order } = this.shown;
    const { row, column, span } = this.view;
    const context = this.canvas.getContext("2d");
    context.font = FONT;
    const width = this.host.clientWidth;
    const shownLabels = new Set([...order.slice(row, row + span), ...order.slice(column, column + span)]);
    const longest = Math.min(width * 0.3, 170, Math.max(...[...shownLabels].slice(0, 500).map((i) => context.measureText(labels[i]).width)));
    const most = Math.min(MAX_SIDE, MAX_CELL * span);
    const labelled = Math.min(most, width - longest - 8) / span >= LABELLED;
    const margin = labelled ? Math.ceil(longest) + 8 : 2;
    const side = Math.max(80, Math.min(most, width - margin - 2));
    const size = side / span;
    const upright = labelled && size < 20 + longest ? margin : labelled ? 20 : 2;
    const height = upright + side + LEGEND;
    this.place = { left: margin, top: upright, side, size };
    scaled(this.canvas, Math.min(width, Math.max(margin + side + 2, margin + LEGEND_WIDTH)), height);
    context.fillStyle = theme.paper;
    context.fillRect(0, 0, this.canvas.width, height);
    context.imageSmoothingEnabled = size < 1;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.cells, column, row, span, span, margin, upright, side, side);
    this.#hatch(context, theme);
    if (size >= 12) this.#lines(context, theme);
    context.font = FONT;
    context.fillStyle = theme.ink;
    context.textBaseline = "middle";
    if (size >= NUMBERED) this.#numbers(context);
    if (labelled) this.#labels(context, theme, longest, size < 20 + longest);
    this.#cursor(context, theme);
    this.#legend(context, theme, upright + side + 14);
  }

  #hatch(context, theme) {
    const { left, top, side } = this.place;
    const { row, column, span } = this.view;
    const scale = window.devicePixelRatio || 1;
    const layer = Object.assign(document.createElement("canvas"), { width: Math.round(side * scale), height: Math.round(side * scale) });
    const over = layer.getContext("2d");
    over.imageSmoothingEnabled = false;
    over.drawImage(this.mask, column, row, span, span, 0, 0, layer.width, layer.height);
    over.globalCompositeOperation = "source-in";
    over.fillStyle = over.createPattern(stripes(theme.hatch, scale), "repeat");
    over.fillRect(0, 0, layer.width, layer.height);
    context.drawImage(layer, left, top, side, side);
  }

  #lines(context, theme) {
    const { left, top, side, size } = this.place;
    context.fillStyle = theme.paper;
    for (let i = 0; i <= this.view.span; i++) {
      context.fillRect(left + i * size - 0.5, top, 1, side);
      context.fillRect(left, top + i * size - 0.5, side, 1);
    }
  }

  #numbers(context) {
    const { value, hatched, order, low, high } = this.shown;
    const { left, top, size } = this.place;
    const { row, column, span } = this.view;
    const [ink, paper] = dark.matches ? [DARK.ink, "#0b1220"] : [LIGHT.ink, "#ffffff"];
    context.textAlign = "center";
    context.lineWidth = 3;
    context.lineJoin = "round";
    for (let r = 0; r < span; r++) {
      for (let c = 0; c < span; c++) {
        const number = value(order[row + r], order[column + c]);
        if (Number.isNaN(number)) continue;
        const strong = low < 0 ? Math.abs(number) > 0.55 : (number - low) / (high - low) > 0.45;
        const place = [number.toFixed(2), left + (c + 0.5) * size, top + (r + 0.5) * size];
        [context.fillStyle, context.strokeStyle] = strong ? [paper, ink] : [ink, paper];
        if (hatched(order[row + r], order[column + c])) context.strokeText(...place); // stripes would cross the digits
        context.fillText(...place);
      }
    }
  }

  #labels(context, theme, longest, turned) {
    const { labels, order } = this.shown;
    const { left, top, size } = this.place;
    const { row, column, span } = this.view;
    context.fillStyle = theme.ink;
    for (let i = 0; i < span; i++) {
      context.textAlign = "right";
      context.fillText(fitted(context, labels[order[row + i]], longest), left - 6, top + (i + 0.5) * size);
      context.save();
      context.translate(left + (i + 0.5) * size, top - 6);
      if (turned) context.rotate(-Math.PI / 2);
      context.textAlign = turned ? "left" : "center";
      context.fillText(fitted(context, labels[order[column + i]], turned ? longest : size), 0, turned ? 0 : -4);
      context.restore();
    }
  }

  #cursor(context, theme) {
    if (!this.cursor) return;
    const { left, top, size, side } = this.place;
    const x = (this.cursor.column - this.view.column) * size, y = (this.cursor.row - this.view.row) * size;
    if (x < 0 || y < 0 || x >= side || y >= side) return;
    context.strokeStyle = theme.cursor;
    context.lineWidth = 2;
    const drawn = Math.max(size, 6);
    context.strokeRect(left + x + (size - drawn) / 2, top + y + (size - drawn) / 2, drawn, drawn);
  }

  // Draws the scale with its ticks, the first of those that would overlap, and what hatching means.
  #legend(context, theme, top) {
    const { low, high, ticks, hatchText } = this.shown;
    const { left } = this.place;
    const length = Math.min(BAR, this.canvas.clientWidth - left - 2);
    const palette = ramp(theme, low < 0);
    for (let x = 0; x < length; x++) {
      const shade = 3 * Math.round((255 * x) / (length - 1));
      context.fillStyle = `rgb(${palette[shade]}, ${palette[shade + 1]}, ${palette[shade + 2]})`;
      context.fillRect(left + x, top, 1, 10);
    }
    context.fillStyle = theme.ink;
    context.textAlign = "left";
    const taken = [];
    for (const [at, text] of ticks) {
      const x = left + (length * (at - low)) / (high - low), width = context.measureText(text).width;
      const start = Math.max(left, Math.min(x - width / 2, left + length - width));
      if (taken.some(([from, to]) => start < to + 8 && start + width > from - 8)) continue;
      taken.push([start, start + width]);
      context.fillRect(Math.min(x, left + length - 1), top, 1, 14);
      context.fillText(text, start, top + 22);
    }
    if (!hatchText) return;
    context.save();
    context.translate(left, top + 34);
    context.fillStyle = context.createPattern(stripes(theme.hatch, 1), "repeat");
    context.fillRect(0, 0, 18, 12);
    context.strokeStyle = theme.faint;
    context.lineWidth = 1;
    context.strokeRect(0.5, 0.5, 17, 11);
    context.restore();
    context.fillStyle = theme.ink;
    context.fillText(fitted(context, hatchText, this.canvas.clientWidth - left - 26), left + 24, top + 40);
  }

  // Returns the cell under a point of the window; null outside.
  #cellAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const { left, top, side, size } = this.place;
    const x = event.clientX - box.left - left, y = event.clientY - box.top - top;
    if (x < 0 || y < 0 || x >= side || y >= side) return null;
    return { row: this.view.row + Math.floor(y / size), column: this.view.column + Math.floor(x / size) };
  }

  #choose(cell) {
    const { order } = this.shown;
    if (cell && cell.row !== cell.column) this.open(order[cell.row], order[cell.column]);
  }

  #move(cell) {
    const { order, describe } = this.shown;
    this.cursor = cell;
    const { row, column, span } = this.view;
    const into = (place, first) => Math.max(Math.min(first, place), place - span + 1);
    const view = { row: into(cell.row, row), column: into(cell.column, column), span };
    if (view.row === row && view.column === column) this.draw();
    else this.#look(view);
    this.status.textContent = describe(order[cell.row], order[cell.column]);
    this.#tell(cell);
  }

  #tell(cell) {
    const { order, describe } = this.shown;
    const { left, top, size, side } = this.place;
    this.tip.hidden = false;
    this.tip.textContent = describe(order[cell.row], order[cell.column]);
    const x = left + (cell.column - this.view.column + 1) * size, y = top + (cell.row - this.view.row + 1) * size;
    const beyond = x + this.tip.offsetWidth > this.host.clientWidth;
    this.tip.style.left = `${Math.max(0, beyond ? x - size - this.tip.offsetWidth - 6 : x + 6)}px`;
    this.tip.style.top = `${Math.min(y + 6, top + side)}px`;
  }

  #listen() {
    const { host, canvas } = this;
    canvas.addEventListener("pointermove", (event) => {
      const cell = this.#cellAt(event);
      canvas.style.cursor = cell && cell.row !== cell.column ? "pointer" : "default";
      if (cell) this.#tell(cell);
      else this.tip.hidden = true;
    });
    host.addEventListener("pointerleave", () => (this.tip.hidden = true));
    canvas.addEventListener("click", (event) => this.#choose(this.#cellAt(event)));
    canvas.addEventListener("wheel", (event) => {
      const at = this.#cellAt(event);
      if (!at || !event.ctrlKey) return; // a plain wheel scrolls the page
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, at);
    }, { passive: false });
    host.addEventListener("keydown", (event) => this.#key(event));
    host.addEventListener("blur", () => {
      this.cursor = null;
      this.tip.hidden = true;
      this.draw();
    });
    dark.addEventListener("change", () => {
      if (this.shown) this.#paintCells();
      this.draw();
    });
    new ResizeObserver(() => this.draw()).observe(host);
  }

  #key(event) {
    if (!this.shown || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.shown.labels.length - 1;
    const { row, column } = this.cursor ?? { row: this.view.row, column: this.view.column };
    const step = event.shiftKey ? 10 : 1;
    const moves = {
      ArrowLeft: [row, column - step], ArrowRight: [row, column + step], ArrowUp: [row - step, column], ArrowDown: [row + step, column],
      Home: [row, 0], End: [row, last],
    };
    if (event.key in moves) {
      const [r, c] = this.cursor ? moves[event.key] : [row, column];
      this.#move({ row: Math.max(0, Math.min(last, r)), column: Math.max(0, Math.min(last, c)) });
    } else if (event.key === "Enter") this.#choose(this.cursor);
    else if (event.key === "+" || event.key === "=") this.zoom(0.5);
    else if (event.key === "-") this.zoom(2);
    else if (event.key === "0") this.zoom(0);
    else return;
    event.preventDefault();
  }
}

// Sets the size of a canvas in CSS pixels, with as many pixels as the screen has.
function scaled(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.getContext("2d").setTransform(scale, 0, 0, scale, 0, 0);
}

// Returns the red, green and blue of 256 shades; a scale that goes below 0 has orange for negative numbers.
function ramp(theme, signed) {
  const stops = theme.ramp.map(([at, colour]) => [signed ? 0.5 + at / 2 : at, rgb(colour)]);
  if (signed) stops.unshift([0, rgb(theme.low)]);
  const shades = new Uint8Array(3 * 256);
  for (let i = 0, place = 0; i < 256; i++) {
    const at = i / 255;
    while (place < stops.length - 2 && at > stops[place + 1][0]) place++;
    const [[start, from], [end, to]] = [stops[place], stops[place + 1]];
    for (let part = 0; part < 3; part++) shades[3 * i + part] = from[part] + ((to[part] - from[part]) * (at - start)) / (end - start);
  }
  return shades;
}

function rgb(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

// Returns a tile of diagonal stripes, dark next to light, which are visible on every colour.
function stripes(colours, scale) {
  const size = Math.round(7 * scale);
  const tile = Object.assign(document.createElement("canvas"), { width: size, height: size });
  const context = tile.getContext("2d");
  context.lineWidth = 1.1 * scale;
  for (const [place, colour] of colours.entries()) {
    context.strokeStyle = colour;
    context.beginPath();
    for (const shift of [-size, 0, size]) {
      context.moveTo(shift + place * 1.5 * scale, size);
      context.lineTo(shift + size + place * 1.5 * scale, 0);
    }
    context.stroke();
  }
  return tile;
}

// Returns a text that is shortened to a width.
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let kept = text.slice(0, 80);
  while (kept && context.measureText(`${kept}…`).width > width) kept = kept.slice(0, -1);
  return `${kept}…`;
}
