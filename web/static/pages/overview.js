// What the store holds: runs in progress, studies, faithfulness against size, and what needs attention.

import { downloads, element, fetchJSON, openPage, redraw, showError } from "../app.js";
import { scatter } from "../scatter.js";
import { readState, writeState } from "../state.js";
import { counted, shown, table } from "../table.js";

const API = "/api/1/overview";
const AGAIN_MS = 3000;
const DEFAULTS = { study: 0 };

const main = openPage("Overview");
const state = readState(DEFAULTS);
const [about, notices, graphNotice, runs, studies, figure] = ["div", "div", "div", "section", "section", "section"]
  .map((name) => element(name));
notices.setAttribute("aria-live", "polite");
main.append(about, notices, graphNotice, runs, studies, figure);

function duration(seconds) {
  const whole = Math.round(seconds), two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

function showStore(found) {
  about.replaceChildren(
    element("p", { class: "quiet" }, `Store ${found.folder} · ${found.writer ? `${found.writer} is writing now` : "nothing is writing now"} · circuitstore ${found.version}`),
    element("dl", { class: "counts" }, ...Object.entries(found.counts).map(([name, count]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, count.toLocaleString("en"))))),
  );
  notices.replaceChildren(...found.notices.map((text) => element("p", { class: "notice" }, text)));
  const columns = ["run", "progress", "items", "done", "running", "waiting", "failed", "circuits", "left", "changed"];
  const rows = found.runs.map((run) => [run.run, run.items ? run.done / run.items : 1, run.items, run.done, run.running, run.waiting,
    run.failed, `${run.circuits} of ${run.circuits_wanted}`, run.left_s === null ? "" : duration(run.left_s),
    new Date(run.changed_ms).toLocaleString("sv")]);
  const cell = (name, value) => {
    if (name === "run") return element("a", { href: `/circuits?${new URLSearchParams({ run: value })}` }, value);
    if (name === "progress") return element("progress", { value, max: 1, "aria-label": "done" }, `${Math.round(100 * value)} %`);
    return null;
  };
  redraw(runs, element("h2", {}, "Runs"), rows.length ? table({ columns, rows }, { caption: "Runs, the newest first", cell })
    : element("p", {}, "There are no runs yet. circuitstore demo makes an example, circuitstore index SPEC.toml a run of your own."));
  return found.runs.some((run) => run.running || run.waiting) || found.writer;
}

async function poll() {
  for (;;) {
    const busy = showStore(await fetchJSON(API));
    await new Promise((resolve) => setTimeout(resolve, busy ? AGAIN_MS : 10 * AGAIN_MS));
    while (document.hidden) await new Promise((resolve) => addEventListener("visibilitychange", resolve, { once: true }));
  }
}

/** Ask whether the graph answers until it does: the rest of the page needs no graph. */
async function watchGraph() {
  for (;;) {
    try {
      const found = await fetchJSON(`${API}/graph`, { again: false });
      const texts = [...found.notices];
      if (found.missing) texts.push(`${found.missing} circuits are not in the graph yet; the next writer adds them`);
      graphNotice.replaceChildren(...texts.map((text) => element("p", { class: "notice" }, text)));
      return;
    } catch (error) {
      showError(null);
      graphNotice.replaceChildren(element("p", { class: "notice" }, `The graph does not answer: ${error.message}`));
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

const STUDY = ["model", "model_id", "dataset", "image_group", "method", "form", "corruption", "metric", "direction", "extraction"];

async function showStudies() {
  const found = await fetchJSON(`${API}/studies`);
  if (!found.rows.length) return;
  const at = (row, name) => row[found.columns.indexOf(name)];
  const filters = found.rows.map((row) => new URLSearchParams(STUDY.map((name) => [name, at(row, name)])));
  // what all studies share is said once
  const values = (name) => new Set(found.rows.map((row) => at(row, name))).size;
  const same = STUDY.filter((name) => found.rows.length > 1 && values(name) === 1);
  const ids = values("model_id") > values("model") ? [] : ["model_id"]; // shown only to tell models of one name apart
  const columns = [...found.columns.filter((name) => ![...same, ...ids].includes(name)), "links"];
  const rows = found.rows.map((row, i) => [...columns.slice(0, -1).map((name) => at(row, name)), i]);
  const cell = (name, value) => name === "model_id" ? element("span", { title: value }, value.slice(0, 8)) : name !== "links" ? null : element("span", {},
    element("a", { href: circuitsOf(filters[value]) }, "circuits"), " · ",
    element("button", { type: "button", "aria-pressed": String(value === state.study), onclick: () => choose(value) }, "figure"));
  const shared = same.filter((name) => name !== "model_id").map((name) => at(found.rows[0], name) && `${name.replaceAll("_", " ")} ${at(found.rows[0], name)}`).filter(Boolean);
  const draw = () => redraw(studies, element("h2", {}, "Studies"),
    ...(shared.length ? [element("p", { class: "quiet" }, `In all of them: ${shared.join(", ")}.`)] : []),
    table({ columns, rows }, { caption: "Studies, the largest first", cell }), downloads(`${API}/studies`, {}));
  async function choose(index) {
    state.study = index;
    writeState(state, DEFAULTS);
    draw();
    await showFigure(filters[index]);
  }
  await choose(Math.min(Math.max(0, Math.trunc(state.study)), filters.length - 1));
}

function circuitsOf(filters) {
  const query = new URLSearchParams(filters);
  query.delete("direction");
  return `/circuits?${query}`;
}

let drawing = new AbortController();

async function showFigure(filters) {
  drawing.abort();
  drawing = new AbortController();
  const found = await fetchJSON(`${API}/faithfulness?${filters}`, { signal: drawing.signal });
  const rows = found.rows.map((row) => Object.fromEntries(found.columns.map((name, i) => [name, row[i]])));
  const title = (row, what) => `${row.class}, ${row.condition}: ${row.n_edges} of ${row.n_graph_edges} edges, ${what}`;
  const own = rows.map((row) => ({ x: row.n_edges, y: row.faithfulness, href: `/c/${row.id}`,
    title: title(row, `faithfulness ${shown(row.faithfulness)}`) }));
  const chance = rows.filter((row) => row.faithfulness_random !== null).map((row) => ({ x: row.n_edges, y: row.faithfulness_random,
    title: title(row, `random circuits ${shown(row.faithfulness_random)}`) }));
  const series = [
    { name: "circuits", shape: "dot", colour: "--blue", filled: true, points: own },
    { name: "random circuits of the same size (mean)", shape: "diamond", colour: "--orange", filled: false, points: chance },
  ];
  figure.replaceChildren(element("h2", {}, "Faithfulness against size"),
    rows.length ? scatter(series, { label: "Faithfulness against number of edges", x: "edges", y: "faithfulness", lines: [1] })
      : element("p", {}, "No circuit of this study has a faithfulness."),
    element("p", { class: "quiet" }, [counted(rows.length, found.total, "circuits"), ...found.notes].join(" · ")),
    downloads(`${API}/faithfulness`, filters));
}

const polling = poll();
watchGraph();
await showStudies();
performance.mark("ready");
await polling;
