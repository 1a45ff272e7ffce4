// A table of rows: sorted by a click or Enter on a heading, with the number of rows that are not shown.

import { element } from "./app.js";

/** Return a value as text for people. */
export function shown(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") {
    if (Number.isInteger(value)) return String(value);
    const text = value.toPrecision(4);
    return text.includes("e") ? text : String(Number(text));
  }
  if (Array.isArray(value)) return value.map(shown).join(", ");
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

/** Return the text about how many rows are shown. */
export function counted(shownRows, total, what = "rows") {
  return shownRows === total ? `${total} ${total === 1 ? what.replace(/s$/, "") : what}` : `${shownRows} of ${total} ${what} shown`;
}

/**
 * Return a table element.
 *
 * options: `caption`; `sort` and `descending`, the column that the rows are sorted by; `onsort(column)`, without which
 * headings are no buttons; `cell(column, value, row)`, which returns an element or null for the plain text;
 * `titles`, other names of columns, of which an empty one cannot be sorted; `hidden`, columns that are left out.
 */
export function table({ columns, rows }, options = {}) {
  const { caption, sort, descending, onsort, cell, titles = {}, hidden = [] } = options;
  const kept = columns.map((name, i) => [name, i]).filter(([name]) => !hidden.includes(name));
  const numeric = new Set(kept.filter(([, i]) => rows.some((row) => typeof row[i] === "number")).map(([name]) => name));
  const head = kept.map(([name]) => {
    const title = titles[name] ?? name.replaceAll("_", " ");
    const order = sort === name ? (descending ? "descending" : "ascending") : null;
    const inside = onsort && title ? element("button", { type: "button", onclick: () => onsort(name) }, title,
      order ? (descending ? " ▾" : " ▴") : "") : title;
    return element("th", { scope: "col", "aria-sort": order, class: numeric.has(name) ? "number" : null }, inside);
  });
  const body = rows.map((row) => {
    const record = Object.fromEntries(columns.map((name, i) => [name, row[i]]));
    return element("tr", {}, ...kept.map(([name, i]) =>
      element("td", { class: typeof row[i] === "number" ? "number" : null }, cell?.(name, row[i], record) ?? shown(row[i]))));
  });
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption ?? "Table" },
    element("table", {}, caption ? element("caption", {}, caption) : null,
      element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)));
}
