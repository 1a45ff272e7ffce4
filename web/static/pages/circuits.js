// The list of circuits.

import { downloads, element, fetchJSON, openPage } from "../app.js";
import { readState, writeState } from "../state.js";
import { counted, table } from "../table.js";

const DEFAULTS = { run: "", offset: 0 };
const PAGE = 100;

const main = openPage("Circuits");
const state = readState(DEFAULTS);
const place = element("div", {});
main.append(place);

async function show() {
  writeState(state, DEFAULTS);
  const query = new URLSearchParams({ offset: state.offset, limit: PAGE });
  if (state.run) query.set("run", state.run);
  const found = await fetchJSON(`/api/1/circuits?${query}`);
  place.replaceChildren(
    element("p", { class: "quiet" }, counted(found.rows.length, found.total, "circuits")),
    table(found, { caption: "Circuits", cell: (name, value) =>
      name === "id" ? element("a", { href: `/c/${value}` }, value.slice(0, 12)) : null }),
    downloads("/api/1/circuits", state.run ? { run: state.run } : {}),
  );
}

await show();
