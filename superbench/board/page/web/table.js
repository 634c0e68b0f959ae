// The tables: a heading with the leading row and its certainty, sticky heads that sort, cells with their intervals.

const FIRST = 40; // rows drawn at once; the others follow when the browser is idle

function tableSection(group) {
  group.head = make("thead");
  group.body = make("tbody");
  group.count = make("span", { class: "soft count" });
  group.news = make("p", { class: "headline" });
  group.lines = new Map();
  fill(group.news, ...headline(group));
  group.section = make("section", { class: "group", id: `table-${group.place}`, "aria-label": group.title },
    make("div", { class: "heading" },
      make("div", {}, make("h2", {}, group.title, make("span", { class: "badge" }, group.badge)),
        group.news, make("p", { class: "soft" }, group.note)),
      make("div", { class: "saves" }, group.count, ...downloads(group))),
    scrolling(make("div", { class: "box", tabindex: "0", role: "region", "aria-label": `Table: ${group.title}` },
      make("table", {}, group.head, group.body))),
    legend(group));
  return group.section;
}
/** A frame around a region that scrolls sideways: a fading edge and a remark say that there are more columns. */
function scrolling(box) {
  const frame = make("div", { class: "frame" }, box, make("p", { class: "soft more-columns", "aria-hidden": "true" }, "More columns: scroll sideways →"));
  const look = () => {
    frame.classList.toggle("wide", box.scrollWidth > box.clientWidth + 1);
    frame.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  };
  box.addEventListener("scroll", look, { passive: true });
  const sizes = new ResizeObserver(look);
  sizes.observe(box);
  sizes.observe(box.firstElementChild);
  return frame;
}
function legend(group) {
  const cells = group.rows.flatMap((row) => Object.values(row.cells));
  return make("p", { class: "legend soft" }, make("span", {}, make("span", { class: "mark best" }, "bold"), " best of its column"),
    cells.some((cell) => cell.tied) && make("span", {}, make("span", { class: "mark tied" }, "≈ framed"),
      " tied with the best: the difference may be chance"),
    cells.some(hasInterval) && make("span", {}, make("span", { class: "bar sample", style: "--lo:22%;--hi:78%;--at:50%" }),
      " 95 % interval; further right is better"),
    group.rows.some((row) => deviationsOf(row).length) && make("span", {}, make("span", { class: "dagger" }, "†"),
      " deviates from its recipe, so it has no rank"));
}

// ---- the heading
/** The best rows of a column; `sure`: there is one best row, it could be compared, and no other row is tied with it. */
function standing(group, column) {
  const cells = group.rows.filter((row) => row.cells[column.key]).map((row) => [row, row.cells[column.key]]);
  const best = cells.filter(([, cell]) => cell.best).map(([row]) => row);
  const measured = cells.length > 1 && cells.some(([, cell]) => hasInterval(cell));
  const alone = best.length === 1 && best[0].cells[column.key].sure !== false && !cells.some(([, cell]) => cell.tied);
  return { best, measured, sure: measured && alone };
}
function headline(group) {
  const first = group.rows.filter((row) => row.rank === 1);
  if (!first.length || group.rows.length < 2) return [];
  const leads = [...named(first, (row) => viewLink("model", keyOf(row), row.name, { class: "leader" })),
    first.length > 1 ? " share the first rank" : " ranks first"];
  const found = group.columns.map((column) => [column, standing(group, column)]);
  if (!found.some(([, one]) => one.measured)) return [...leads, ". No intervals were published, so no difference here can be called sure."];
  const sure = found.filter(([, one]) => one.sure);
  const own = sure.filter(([, one]) => one.best[0] === first[0]).map(([column]) => `${column.task.toUpperCase()} ${metricName(column)}`);
  const open = found.length - sure.length;
  return [...leads, own.length ? `, surely best in ${own.length} of ${plural(found.length, "column")}: ${listed(own)}.`
    : ", though surely best in no single column.",
    sure.length > own.length ? ` Another row is surely best in ${sure.length - own.length}.` : "",
    open ? ` In ${open === found.length ? "all" : open} nobody is surely best: who leads there may be chance.` : ""];
}

// ---- heads
function drawHead(group) {
  const [columns, front] = [visibleColumns(group), visibleLeading(group)];
  const runs = domains.map((domain) => [domain, columns.filter((column) => column.domain === domain).length]).filter(([, count]) => count);
  group.head.replaceChildren(
    make("tr", {}, make("td", { class: "name" }), front.length > 1 ? make("td", { colspan: front.length - 1 }) : "",
      ...runs.map(([domain, count]) => make("th", { colspan: count, scope: "colgroup" }, domain))),
    make("tr", {}, ...front.map((column) => headCell(group, column)),
      ...columns.map((column) => headCell(group, column, opens(columns, column)))));
  markSort(group);
}
const opens = (columns, column) => columns[columns.indexOf(column) - 1]?.domain !== column.domain;
function aboutColumn(column) {
  const parts = [column.title, column.corpus, column.unit === "%" ? "per cent" : column.unit,
    column.higher ? "higher is better" : "lower is better", column.chosen_on === "test" && "chosen on test, as the official protocol does"];
  return parts.filter(Boolean).join(", ");
}
function headCell(group, column, first) {
  const [top, below] = column.domain ? [column.task.toUpperCase(), `${metricName(column)} ${arrow(column)}`]
    : [column.label, column.small ?? ""];
  const title = column.domain ? aboutColumn(column) : column.note;
  return make("th", { class: column.key === "name" ? "name" : first ? "first" : null, scope: "col", "data-key": column.key },
    make("button", { type: "button", title, onclick: () => sortBy(group, column) }, top, make("small", {}, below)));
}
function sortBy(group, column) {
  const now = sortOf(group);
  state.sorts.set(group.key, { key: column.key, down: now.key === column.key ? !now.down : column.higher });
  markSort(group);
  drawBody(group);
  keepHash();
  say(`${group.title}: sorted by ${column.domain ? headOf(column) : column.label}, ${sortOf(group).down ? "greatest" : "least"} first`);
}
function markSort(group) {
  for (const cell of group.head.querySelectorAll("[data-key]")) {
    const now = cell.dataset.key === sortOf(group).key;
    if (now) cell.setAttribute("aria-sort", sortOf(group).down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  }
}

// ---- rows
/** Draws a table again; `columns`: the visible columns have changed, so no drawn row can be reused. */
function drawTable(group, columns = true) {
  if (columns) { group.lines.clear(); drawHead(group); }
  drawBody(group);
}
function drawBody(group) {
  const [columns, front, rows] = [visibleColumns(group), visibleLeading(group), visibleRows(group)];
  group.body.replaceChildren();
  const line = (row) => {
    if (!group.lines.has(row.id)) group.lines.set(row.id, tableRow(group, row, front, columns));
    const node = group.lines.get(row.id);
    node.classList.toggle("picked", state.picked.includes(row));
    node.querySelector("input").checked = state.picked.includes(row);
    group.body.append(node);
  };
  slices(group, rows, FIRST, line);
  if (!rows.length) group.body.append(make("tr", {}, make("td", { class: "name none", colspan: front.length + columns.length },
    "No row passes the filters.")));
  group.count.textContent = rows.length === group.rows.length ? plural(rows.length, "row")
    : `${rows.length} of ${plural(group.rows.length, "row")}`;
}
function tableRow(group, row, front, columns) {
  group.top ??= rangeOf(group.rows.map((other) => other.superb))[1];
  const cells = {
    name: () => nameCell(group, row),
    rank: () => make("td", { class: "rank" }, present(row.rank) ? String(row.rank) : "–"),
    superb: () => make("td", { class: "superb" }, present(row.superb)
      ? make("span", { class: row.superb === group.top ? "mark best" : "mark" }, number(row.superb, 0)) : "–"),
    params: () => make("td", {}, present(row.params) ? millions(row.params) : "–"),
    corpus: () => make("td", { class: "left", title: seenText(row) }, make("small", {}, corpusOf(row))),
  };
  return make("tr", { id: row.id }, ...front.map((column) => cells[column.key]()),
    ...columns.map((column) => scoreCell(group, row, column, opens(columns, column))));
}
const seenText = (row) => (row.seen?.length ? `Trained on the corpus of ${row.seen.map((task) => task.toUpperCase()).join(", ")}` : null);
const dagger = (list) => (list.length ? make("abbr", { class: "dagger", title: `Not the recipe: ${list.join(", ")}` }, "†") : null);
function nameCell(group, row) {
  const facts = [row.kind === "untrained" ? "untrained control" : row.family && row.family !== row.name ? row.family : row.kind, row.source,
    row.hidden && "unpublished", row.namesake && "not the published row", row.copied, row.tasks < allTasks.length ? `${row.tasks} of ${allTasks.length} tasks` : ""];
  return make("th", { class: "name", scope: "row" }, make("div", {},
    make("input", { type: "checkbox", "aria-label": `Compare ${row.name}`, checked: state.picked.includes(row),
      onchange: () => pick(row) }),
    make("span", {}, make("span", { class: "named" }, viewLink("model", keyOf(row), breaking(row.name)), dagger(deviationsOf(row))),
      make("small", { title: row.missing?.length ? `missing: ${row.missing.join(", ")}` : null }, facts.filter(Boolean).join(" · ")))));
}
function scoreCell(group, row, column, first) {
  const cell = row.cells[column.key];
  const kind = first ? "first" : null;
  if (!cell) return make("td", { class: first ? "first none" : "none" }, "–");
  const title = [cell.method, cell.best ? "best of its column" : cell.tied ? "tied with the best of its column"
    : ""].filter(Boolean).join("; ");
  return make("td", { class: kind, title: title || null }, scoreText(group, column, cell),
    hasInterval(cell) ? make("small", {}, intervalText(group, column, cell)) : null, hasInterval(cell) ? bar(group, column, cell) : null);
}
function scoreText(group, column, cell) {
  const kind = cell.best ? "mark best" : cell.tied ? "mark tied" : "mark";
  return make("span", { class: kind }, cell.tied && !cell.best ? "≈\u2009" : null, number(cell.value, digitsOf(group, column)),
    dagger(cell.deviations ?? []));
}
const intervalText = (group, column, cell) => `${number(cell.lo, digitsOf(group, column))} – ${number(cell.hi, digitsOf(group, column))}`;
/** The interval as a bar on the range of all rows; further right is better for every metric. */
function bar(group, column, cell) {
  const [low, high] = spanOf(group, column);
  const at = (value) => `${(100 * (column.higher ? value - low : high - value) / (high - low || 1)).toFixed(1)}%`;
  const [from, to] = (column.higher ? [cell.lo, cell.hi] : [cell.hi, cell.lo]).map((end) => end ?? cell.value);
  return make("span", { class: cell.best ? "bar best" : "bar", style: `--lo:${at(from)};--hi:${at(to)};--at:${at(cell.value)}` });
}
