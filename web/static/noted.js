// Notes as elements, and the section about notes of the pages that show a subject.

import { element, fetchJSON } from "./app.js";

/** Return a subject as a link to the page that shows it. */
function subject(text) {
  const at = text.indexOf(":"), kind = text.slice(0, at), ref = text.slice(at + 1);
  const [a, b] = ref.split("..");
  const last = ref.slice(ref.indexOf("/") + 1);
  const links = {
    circuit: [`/c/${ref}`, `circuit ${ref.slice(0, 8)}`],
    pair: [`/diff?${new URLSearchParams({ a, b: b ?? "" })}`, `pair ${a.slice(0, 8)}, ${(b ?? "").slice(0, 8)}`],
    class: [`/circuits?${new URLSearchParams({ class: ref.split("/").slice(2).join("/") })}`, `class ${ref.split("/").slice(2).join("/")}`],
    component: [`/head/${encodeURIComponent(last)}`, last],
    edge: [null, last],
    query: [`/query?${new URLSearchParams({ text: ref })}`, `query ${ref.slice(0, 60)}`],
  };
  const [href, name] = links[kind] ?? [null, text];
  return href ? element("a", { href, title: text }, name) : element("span", { title: text }, name);
}

function spaced(parts) {
  return parts.flatMap((part, i) => (i ? [", ", part] : [part]));
}

/** Return a note as an element; with `onedit`, it has a button for its next version. */
export function shownNote(note, onedit = null) {
  const made = new Date(note.created_ms).toLocaleString("sv").slice(0, 16);
  return element("article", { class: "note" },
    element("p", { class: "text", dir: "auto" }, note.text),
    element("p", { class: "quiet" },
      ...(note.hypothesis ? [element("strong", {}, `hypothesis, ${note.hypothesis.state}`), " · "] : []),
      ...(note.about.length ? ["about ", ...spaced(note.about.map(subject)), " · "] : []),
      ...(note.hypothesis?.evidence.length ? ["evidence: ", ...spaced(note.hypothesis.evidence.map(subject)), " · "] : []),
      ...(note.tags.length ? ["tags ", ...spaced(note.tags.map((tag) =>
        element("a", { href: `/notes?${new URLSearchParams({ tag })}` }, tag))), " · "] : []),
      element("bdi", {}, note.author), ` · ${made} · ${note.id.slice(0, 8)}`,
      ...(note.replaces ? [` · replaces ${note.replaces.slice(0, 8)}`] : [])),
    ...(onedit ? [element("button", { type: "button", onclick: onedit }, "New version")] : []));
}

/** Return the section with the notes about a subject, such as `circuit:ID`; it is filled when the notes are known. */
export function notesAbout(text) {
  const place = element("section", { "aria-label": "Notes" });
  const query = new URLSearchParams({ about: text });
  fetchJSON(`/api/1/notes?${query}`).then((found) => {
    place.append(element("h2", {}, "Notes"), ...found.notes.map((note) => shownNote(note)),
      element("p", {}, found.total ? null : "No note yet. ", element("a", { href: `/notes?${query}` },
        found.may_add ? "Notes about this, and adding one" : "Notes about this")));
  });
  return place;
}
