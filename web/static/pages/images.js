// The page of images: a class under its conditions, as the model sees it, with maps of a read-out on the images.

import { downloads, element, fetchBytes, fetchJSON, openPage } from "../app.js";
import { ImageMaps, paint, summary } from "../imagemap.js";
import { readArrays } from "../safetensors.js";
import { readState, writeState } from "../state.js";
import { counted, shown, table } from "../table.js";

const DEFAULTS = { run: "", model: null, dataset: null, class: null, image_group: null, map: "", at: "" };
const SUBJECT = ["model", "dataset", "class", "image_group"];
const SUM = "sum"; // in `at`: the sum over an axis

const main = openPage("Images");
const state = readState(DEFAULTS);
const controls = element("div", { class: "controls" });
const grid = element("div", {});
const flagged = element("div", {});
main.append(controls, grid, flagged);
let found = null; // the answer for the class
let flags = null; // images that detectors flagged, of all classes
let maps = new Map(); // maps of the chosen read-out by condition

function keep(values) {
  Object.assign(state, values);
  writeState(state, DEFAULTS);
}

function again(values) {
  keep(values);
  show();
}

function select(label, options, chosen, choose) {
  const list = options.map(([value, text]) => element("option", { value, selected: value === chosen }, text));
  return element("label", {}, label, element("select", { onchange: (event) => choose(event.target.value) }, ...list));
}

// Returns the name of a class, with what distinguishes it from others of this name.
function nameOf(subject) {
  const several = (field) => new Set(found.subjects.map((one) => one[field])).size > 1;
  return [subject.class, ...["image_group", "dataset", "model"].filter(several).map((field) => subject[field])].filter(Boolean).join(" · ");
}

const axes = () => [...maps.values()][0]?.facts.axes ?? [];

// Returns the chosen position on each axis by name; null for the sum.
function places() {
  const [facts, chosen] = [[...maps.values()][0]?.facts, state.at.split(",")];
  return Object.fromEntries(axes().map(({ name, labels }, i) => {
    const place = chosen[i] === "" || chosen[i] === undefined ? (facts.added.includes(name) ? SUM : 0) : chosen[i];
    return [name, place === SUM ? null : Math.min(labels.length - 1, Number(place) || 0)];
  }));
}

function drawControls() {
  const chosen = places();
  const options = found.subjects.map((subject, i) => [String(i), nameOf(subject)]);
  const added = [...maps.values()][0]?.facts.added ?? [];
  controls.replaceChildren(
    select("class", options, String(found.shown), (i) => {
      const subject = found.subjects[Number(i)];
      again(Object.fromEntries(SUBJECT.map((field) => [field, subject[field]])));
    }),
    select("map on the images", [["", "none"], ...found.maps.map(({ title }) => [title, title])], state.map, (map) => again({ map, at: "" })),
    ...axes().map(({ name, labels }, axis) => select(name,
      [...(added.includes(name) ? [[SUM, "all, added up"]] : []), ...labels.map((label, i) => [String(i), String(label)])],
      chosen[name] === null ? SUM : String(chosen[name]), (place) => {
        const at = axes().map((one, i) => (i === axis ? place : chosen[one.name] === null ? SUM : chosen[one.name]));
        keep({ at: at.join(",") });
        draw();
      })),
  );
}

const ratio = (value) => `${Math.round(100 * value)} %`;

// Returns a picture with a caption, and the map on it if there is one; without a source, the map alone.
function figure(source, text, caption, map, largest) {
  const { rows, columns } = [...maps.values()][0] ?? {};
  const stack = element("div", { class: source ? "stack" : "stack blank" }, source ? element("img", { src: source, alt: text, loading: "lazy" }) : null);
  if (map) {
    const canvas = element("canvas", source ? { "aria-hidden": "true" } : { role: "img", "aria-label": text });
    paint(canvas, map, rows, columns, largest / map.scale);
    stack.append(canvas);
  }
  return element("figure", { class: "seen" }, stack, element("figcaption", {}, ...caption));
}

function badges(hash, condition) {
  return flags.rows.map((row) => Object.fromEntries(flags.columns.map((name, i) => [name, row[i]])))
    .filter((flag) => flag.image === hash && flag.condition === condition)
    .map(({ detector, score, threshold }) => element("strong", { class: "flag" }, `flagged by ${detector}: ${shown(score)} > ${shown(threshold)}`));
}

// Yields what is painted: condition, image (null for the mean) and map.
function* painted() {
  for (const [condition, one] of maps) {
    for (const hash of [null, ...one.facts.hashes]) {
      const map = one.at(hash, places());
      if (map) yield { condition, hash, map, columns: one.columns };
    }
  }
}

// Returns the magnitude of the darkest value of means, and of single images.
function scales() {
  const largest = { mean: 0, image: 0 };
  for (const { hash, map } of painted()) {
    const own = map.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) * map.scale;
    const of = hash === null ? "mean" : "image";
    largest[of] = Math.max(largest[of], own);
  }
  return largest;
}

function source(set, hash, view) {
  return `/api/1/images/${set.id}/${hash}/${view}.png`;
}

function cells(set, example, largest) {
  const map = maps.get(set.condition)?.at(example.hash, places());
  const { file, hash } = example;
  if (example.attacked_as === null) {
    return [figure(source(set, hash, "clean"), `${file}, as the model sees it`, [`${example.predicted} ${ratio(example.probability)}`, ...badges(hash, set.condition)], map, largest.image)];
  }
  return [
    figure(source(set, hash, "attacked"), `${file} under ${set.short}, as the model sees it`,
      [`${example.attacked_as} ${ratio(example.attacked_probability)}`, ...badges(hash, set.condition)], map, largest.image),
    figure(source(set, hash, "difference"), `${file}, difference that ${set.short} makes`,
      [`difference × ${example.amplified.toPrecision(3)}; L∞ ${example.linf.toPrecision(2)}, L2 ${example.l2.toPrecision(3)}`], null, 0),
  ];
}

// Returns the table of images: a row for each image, with the clean one, then each other condition.
function pictures() {
  const { sets } = found;
  const attacked = sets.filter((set) => set.examples.some((example) => example.attacked_as !== null));
  const natural = sets.filter((set) => !attacked.includes(set));
  const examples = new Map(sets.flatMap((set) => set.examples).map((example) => [example.hash, example]));
  const largest = scales();
  const clean = (hash) => {
    const [set, example] = sets.map((one) => [one, one.examples.find((each) => each.hash === hash)]).find(([, each]) => each);
    const map = natural.map((one) => maps.get(one.condition)).find(Boolean)?.at(hash, places());
    return figure(source(set, hash, "clean"), `${example.file}, as the model sees it`,
      [`${example.predicted} ${ratio(example.probability)}`, ...natural.flatMap((one) => badges(hash, one.condition))], map, largest.image);
  };
  const mean = (set) => {
    const one = maps.get(set?.condition);
    return one ? [figure(null, `mean map under ${set.short}`, [`mean of ${one.facts.count} images`], one.at(null, places()), largest.mean)] : [];
  };
  const cell = (...inside) => element("td", {}, ...inside);
  const rows = [...examples.values()].map((example) => element("tr", {},
    element("th", { scope: "row" }, example.file, element("br"), element("span", { class: "quiet", title: example.hash }, example.hash.slice(0, 12))),
    cell(clean(example.hash)),
    ...attacked.map((set) => {
      const own = set.examples.find(({ hash }) => hash === example.hash);
      return cell(element("div", { class: "beside" }, ...(own ? cells(set, own, largest) : ["not stored"])));
    })));
  if (maps.size) rows.unshift(element("tr", {}, element("th", { scope: "row" }, "mean map"), cell(...mean(natural[0])), ...attacked.map((set) => cell(...mean(set)))));
  const head = ["image", natural[0]?.short ?? "clean", ...attacked.map((set) => set.short)].map((text) => element("th", { scope: "col" }, text));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Example images" },
    element("table", { class: "pictures" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)));
}

// Returns the maps in numbers, the text form of what is painted.
function numbers() {
  const rows = [...painted()].map(({ condition, hash, map, columns }) => {
    const { positive, negative, largest, row, column } = summary(map, columns);
    return [condition, hash === null ? "mean" : hash.slice(0, 12), positive, negative, largest, row, column];
  });
  const ids = found.maps.find(({ title }) => title === state.map).ids;
  return [
    element("h2", {}, "Maps in numbers"),
    table({ columns: ["condition", "image", "sum of positive", "sum of negative", "largest", "row", "column"], rows }, { caption: state.map }),
    ...Object.entries(ids).map(([condition, id]) => element("div", {}, element("span", { class: "quiet" }, condition), downloads(`/api/1/maps/${id}/numbers`, {}))),
  ];
}

function draw() {
  drawControls();
  const count = new Set(found.sets.flatMap((set) => set.examples.map(({ hash }) => hash))).size;
  const { mean, image } = scales();
  const facts = [...maps.values()][0]?.facts;
  const legend = facts && element("p", { class: "quiet" },
    `${facts.unit}: blue raises it, orange lowers it; darkest: ±${mean.toPrecision(3)} in means${image ? `, ±${image.toPrecision(3)} on images` : ""}.`);
  const unmapped = maps.size && !image ? element("p", { class: "quiet" }, "The numbers of single images are not stored; the spec's key per_image stores them.") : null;
  grid.replaceChildren(...[
    element("p", { class: "quiet" }, `${count} example images of ${nameOf(found.subjects[found.shown])}; the store has no others of this class.`),
    legend, unmapped, pictures(), ...(maps.size ? numbers() : []),
  ].filter(Boolean));
  const shownFlags = { ...flags, rows: flags.rows.slice(0, 100) };
  flagged.replaceChildren(
    element("h2", {}, "Flagged images"),
    element("p", { class: "quiet" }, counted(shownFlags.rows.length, flags.total, "images")),
    ...(flags.total ? [table(shownFlags, { caption: "Images that detectors flagged", hidden: ["detector_id"],
      cell: (name, value) => (name === "image" ? element("span", { title: value }, value.slice(0, 12)) : name === "true" ? classLink(value) : null) }),
    downloads("/api/1/images/flagged", state.run ? { run: state.run } : {})] : []),
  );
}

function classLink(name) {
  const known = found.subjects.some((subject) => subject.class === name);
  return known ? element("a", { href: `/images?${new URLSearchParams({ class: name })}` }, name) : null;
}

let asking = new AbortController();

async function show() {
  asking.abort();
  const { signal } = (asking = new AbortController());
  const query = new URLSearchParams(state.run ? { run: state.run } : {});
  flags = await fetchJSON(`/api/1/images/flagged?${query}`, { signal });
  for (const field of SUBJECT) if (state[field] !== null) query.set(field, state[field]);
  found = await fetchJSON(`/api/1/images?${query}`, { signal });
  if (found.shown === null) {
    grid.replaceChildren(element("p", {}, "The store has no example images. `circuitstore index` stores some of each class and condition, unless the spec has images.examples = 0."));
    return;
  }
  const subject = found.subjects[found.shown];
  const chosen = found.maps.find(({ title }) => title === state.map);
  keep({ ...Object.fromEntries(SUBJECT.map((field) => [field, subject[field]])), map: chosen ? state.map : "" });
  const images = new URLSearchParams(found.sets.flatMap((set) => set.examples.map(({ hash }) => ["image", hash])));
  maps = new Map(await Promise.all(Object.entries(chosen?.ids ?? {}).map(async ([condition, id]) =>
    [condition, new ImageMaps(readArrays(await fetchBytes(`/api/1/maps/${id}?${images}`, { signal })))])));
  draw();
}

await show();
