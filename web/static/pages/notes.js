// Notes and hypotheses: the list by state, subject and tag, and a form to add one.

import { downloads, element, fetchJSON, openPage, postJSON } from "../app.js";
import { shownNote } from "../noted.js";
import { parameters, readState, writeState } from "../state.js";
import { counted } from "../table.js";

const API = "/api/1/notes";
const DEFAULTS = { state: "", about: "", tag: "", replaced: false };
const STATES = ["open", "supported", "refuted"];
const SUBJECTS = "circuit:ID, pair:ID..ID, class:NAME, component:a3.h1, edge:a0.h1->m2 or query:NAME";

const main = openPage("Notes");
let state = readState(DEFAULTS);
const controls = element("form", { class: "controls", onsubmit: (event) => event.preventDefault() });
const list = element("div");
const editor = element("section");
main.append(controls, editor, list);
addEventListener("popstate", () => { state = readState(DEFAULTS); fill(); show(); });

let asking = new AbortController();

function change(part) {
  state = { ...state, ...part };
  writeState(state, DEFAULTS, { push: true });
  return show();
}

function fill() {
  const states = element("select", { onchange: (event) => change({ state: event.target.value }) },
    element("option", { value: "" }, "all notes"), ...STATES.map((name) => element("option", { value: name }, `${name} hypotheses`)));
  states.value = state.state;
  const text = (name, placeholder) => element("input", { value: state[name], placeholder,
    onchange: (event) => change({ [name]: event.target.value.trim() }) });
  const replaced = element("input", { type: "checkbox", onchange: (event) => change({ replaced: event.target.checked }) });
  replaced.checked = state.replaced;
  controls.replaceChildren(element("label", {}, "state", states), element("label", {}, "about", text("about", "circuit:ID, class:NAME, …")),
    element("label", {}, "tag", text("tag", "any")), element("label", { class: "check" }, replaced, " also replaced versions"));
}

/** Show the form for a note; with an earlier one, for its next version. */
function edit(earlier) {
  const field = (label, input) => element("label", { class: "wide" }, label, input);
  const text = element("textarea", { rows: "4", required: true, maxlength: "100000" });
  text.value = earlier?.text ?? "";
  const about = element("textarea", { rows: "2", placeholder: SUBJECTS });
  about.value = (earlier?.about ?? (state.about ? [state.about] : [])).join("\n");
  const tags = element("input", { value: (earlier?.tags ?? []).join(", ") });
  const author = element("input", { value: "", placeholder: "your account" });
  const evidence = element("textarea", { rows: "2", placeholder: SUBJECTS });
  evidence.value = (earlier?.hypothesis?.evidence ?? []).join("\n");
  const states = element("select", {}, ...(earlier?.hypothesis ? [] : [element("option", { value: "" }, "no hypothesis")]),
    ...STATES.map((name) => element("option", { value: name }, name)));
  states.value = earlier?.hypothesis?.state ?? "";
  const split = (input, sign) => input.value.split(sign).map((part) => part.trim()).filter(Boolean);
  const form = element("form", { class: "controls", onsubmit: async (event) => {
    event.preventDefault();
    save.disabled = true;
    try {
      const note = { text: text.value.trim(), about: split(about, "\n"), tags: split(tags, ",") };
      if (author.value.trim()) note.author = author.value.trim();
      if (states.value) Object.assign(note, { state: states.value, evidence: split(evidence, "\n") });
      if (earlier) note.replaces = earlier.id;
      await postJSON(API, note);
      edit(null);
      await show();
    } finally {
      save.disabled = false;
    }
  } });
  const save = element("button", { type: "submit" }, earlier ? "Store the new version" : "Add the note");
  form.append(field("text", text), field("about, one per line", about), element("label", {}, "tags, with commas between", tags),
    element("label", {}, "state", states), field("evidence, one per line", evidence), element("label", {}, "author", author), save,
    ...(earlier ? [element("button", { type: "button", onclick: () => edit(null) }, "Cancel")] : []));
  const details = element("details", {}, element("summary", {}, earlier ? `New version of ${earlier.id.slice(0, 8)}` : "Add a note"), form);
  details.open = Boolean(earlier);
  editor.replaceChildren(details);
  if (earlier) text.focus();
}

async function show() {
  asking.abort();
  asking = new AbortController();
  const query = parameters(state, DEFAULTS);
  if (state.replaced) query.set("replaced", "true");
  const found = await fetchJSON(`${API}?${query}`, { signal: asking.signal });
  if (!found.may_add) editor.replaceChildren(element("p", { class: "quiet" }, "To add notes here, start circuitstore serve with --notes; circuitstore note add works at any time."));
  else if (!editor.children.length) edit(null);
  list.replaceChildren(element("p", { class: "quiet", role: "status" }, counted(found.notes.length, found.total, "notes")),
    ...found.notes.map((note) => shownNote(note, found.may_add ? () => edit(note) : null)), downloads(API, query));
}

fill();
await show();
performance.mark("ready");
