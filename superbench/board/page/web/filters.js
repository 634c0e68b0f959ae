// Filters of the tables: search, family, size, protocol, corpus, and visible columns.

function setFilters() {
  byId("query").value = state.query;
  const distinct = (read) => [...new Set(everyRow.map(read))].filter(Boolean).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const used = sizes.filter(([, , holds]) => everyRow.some((row) => holds(row.params)));
  const filters = [
    ["protocol", "Protocol", [...groups, ...sections].map((group) => [group.key, group.title])],
    ["family", "Family", distinct(familyOf).map((name) => [name, name])],
    ["size", "Size", used.map(([key, text]) => [key, text])],
    ["corpus", "Pretrained on", distinct(corpusOf).map((name) => [name, name])],
  ];
  fill(byId("filters"), ...filters.filter(([, , pairs]) => pairs.length > 1).map(([name, text, pairs]) =>
    labelled(text, choice(`filter-${name}`, [["", "all"], ...pairs], state[name], (value) => { state[name] = value; narrowed(); }))));
  drawColumns();
  markFilters();
}
function narrowed() {
  markFilters();
  drawTables(false);
  keepHash();
  const shown = visibleGroups().reduce((sum, group) => sum + visibleRows(group).length, 0);
  say(`${plural(shown, "row")} shown`);
}
const filtering = () => Boolean(state.query || plainFilters.some((name) => state[name]) || state.hidden.size);
function markFilters() {
  byId("clear").hidden = !filtering();
  for (const node of byId("filters").querySelectorAll("select")) node.classList.toggle("set", node.value !== "");
  const shown = board.columns.filter((column) => !state.hidden.has(column.key)).length;
  byId("choose").textContent = `Columns: ${shown === board.columns.length ? "all" : `${shown} of ${board.columns.length}`}`;
}
function clearFilters() {
  Object.assign(state, { query: "", family: "", size: "", protocol: "", corpus: "" });
  state.hidden.clear();
  setFilters();
  drawTables(true);
  keepHash();
  byId("query").focus();
}

// ---- columns
function drawColumns() {
  const extras = leading.filter((column) => column.key !== "name" && everyRow.some((row) => present(column.read(row))));
  const sets = [["about the model", extras],
    ...domains.map((domain) => [domain, board.columns.filter((column) => column.domain === domain)])];
  fill(byId("columns"), ...sets.map(([title, columns]) => make("fieldset", {}, make("legend", {}, title),
    ...columns.map((column) => columnBox(column)),
    columns.length > 1 ? button("none / all", () => flip(columns), { class: "quiet" }) : null)), button("Close", () => showColumns(false),
      { class: "close" }));
}
function columnBox(column) {
  const box = make("input", { type: "checkbox", value: column.key, checked: !state.hidden.has(column.key), onchange: () => {
    if (box.checked) state.hidden.delete(column.key);
    else state.hidden.add(column.key);
    redrawColumns();
  } });
  return make("label", { title: column.title ?? column.note }, box, make("span", {}, column.domain ? headOf(column) : column.label,
    make("small", {}, column.domain ? [column.title, column.corpus].filter(Boolean).join(", ") : "")));
}
function flip(columns) {
  const show = columns.some((column) => state.hidden.has(column.key));
  for (const { key } of columns) {
    if (show) state.hidden.delete(key);
    else state.hidden.add(key);
    byId("columns").querySelector(`input[value="${CSS.escape(key)}"]`).checked = show;
  }
  redrawColumns();
}
function redrawColumns() {
  markFilters();
  drawTables(true);
  keepHash();
}
function showColumns(open) {
  byId("columns").hidden = !open;
  byId("choose").setAttribute("aria-expanded", String(open));
  if (open) byId("columns").querySelector("input").focus();
  else byId("choose").focus();
}
function listenToFilters() {
  byId("query").addEventListener("input", (event) => { state.query = event.target.value; narrowed(); });
  byId("clear").addEventListener("click", clearFilters);
  byId("more").addEventListener("click", () => byId("more").setAttribute("aria-expanded", String(byId("tools").classList.toggle("open"))));
  byId("choose").addEventListener("click", () => showColumns(byId("columns").hidden));
  document.addEventListener("click", (event) => {
    if (byId("columns").hidden || event.target.closest("#columns, #choose")) return;
    byId("columns").hidden = true;
    byId("choose").setAttribute("aria-expanded", "false");
  });
}
