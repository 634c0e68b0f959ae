"use strict";
// The page of the board: everything is drawn from the JSON in #board, names as text and never as markup.

const board = JSON.parse(document.getElementById("board").textContent);
const families = [...new Set(board.columns.map((column) => column.domain))];
const state = { query: "", hidden: new Set(), picked: [], open: new Set() };
const groups = board.groups.map((group, place) => ({
  ...group,
  rows: group.rows.map((row, index) => ({ ...row, id: `row-${place}-${index}` })),
  columns: board.columns.filter((column) => group.rows.some((row) => row.cells[column.key])).map((column) => ({
    ...column, read: (row) => row.cells[column.key]?.value ?? null,
  })),
  sort: { key: "rank", down: false },
}));
const leading = [
  { key: "name", label: "Model", higher: false, read: (row) => row.name },
  { key: "rank", label: "Rank", higher: false, read: (row) => row.rank, note: "By the leaderboard's rank points among these rows" },
  { key: "superb", label: "SUPERB score", higher: true, read: (row) => row.superb, note: "0 = published FBANK, 1000 = reference state of the art" },
  { key: "params", label: "Params M", higher: false, read: (row) => row.params, note: "Millions of parameters" },
];

// ---- small things
const byId = (id) => document.getElementById(id);
const present = (value) => value !== null && value !== undefined;
const words = (key) => key.replaceAll("_", " ");
function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (present(value) && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter(present));
  return node;
}
const make = (tag, attributes = {}, ...children) => dress(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) =>
  dress(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
function range(values) {
  const known = values.filter(present);
  return known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
}
const hasInterval = (cell) => Boolean(cell) && present(cell.lo) && present(cell.hi);
/** One digit less where intervals say that the last one means nothing. */
function places(group, column) {
  const rough = group.rows.some((row) => hasInterval(row.cells[column.key]));
  return (column.unit === "%" ? 2 : 4) - (rough ? 1 : 0);
}
const number = (value, digits) => value.toFixed(digits).replace("-", "−");
const short = (size) => ["k", "M", "G", "T"].map((unit, place) => [size / 1000 ** (place + 1), unit]).findLast(([n]) => n >= 1)?.join(" ") ?? String(size);
const millions = (params) => (params === 0 ? "0" : (params / 1e6).toFixed(params < 1e7 ? 2 : 1));
const arrow = (column) => `${column.label.replace(/\s*[↑↓]/, "")}\u00a0${column.higher ? "↑" : "↓"}`;
const deviations = (row) => [...new Set(Object.values(row.cells).flatMap((cell) => cell.deviations ?? []))];
const dagger = (list) =>
  list.length ? make("abbr", { class: "dagger", tabindex: "0", title: `Not the recipe: ${list.join(", ")}` }, "†") : null;

// ---- what is visible
const visibleColumns = (group) => group.columns.filter((column) => !state.hidden.has(column.domain));
const visibleRows = (group) => order(group, group.rows.filter((row) => row.name.toLowerCase().includes(state.query)));
function order(group, rows) {
  const column = [...leading, ...group.columns].find((one) => one.key === group.sort.key);
  const sign = group.sort.down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [one, other] = [column.read(a), column.read(b)];
    if (!present(one) || !present(other)) return present(other) - present(one); // missing: last, either way
    return sign * (typeof one === "string" ? one.localeCompare(other, "en", { numeric: true }) : one - other);
  });
}

// ---- tables
function groupSection(group) {
  group.head = make("thead");
  group.body = make("tbody");
  group.count = make("span", { class: "soft" });
  const save = (text, kind, write) => make("button", { type: "button", onclick: () => download(group, kind, write(group)) }, text);
  return make("section", { class: "group" },
    make("div", { class: "heading" },
      make("div", {}, make("h2", {}, group.title, make("span", { class: "badge" }, group.official ? "official protocol" : "not official")),
        make("p", { class: "soft" }, group.note)),
      make("div", { class: "toggles" }, group.count, save("CSV", "csv", csv), save("LaTeX", "tex", latex))),
    make("div", { class: "box", tabindex: "0", role: "region", "aria-label": group.title }, make("table", {}, group.head, group.body)),
    legend(group));
}
function legend(group) {
  const cells = group.rows.flatMap((row) => Object.values(row.cells));
  return make("p", { class: "legend soft" }, make("span", { class: "best" }, "Bold"), ": best of its column",
    ...(cells.some((cell) => cell.tied) ? [" · ", make("span", { class: "tied" }, "underlined"),
      ": its interval overlaps the best's, so no winner is sure"] : []),
    ...(cells.some(hasInterval) ? [" · ", "brackets and bar: 95 % interval, drawn on the column's range"] : []),
    ...(group.rows.some((row) => deviations(row).length) ? [" · ", make("span", { class: "dagger" }, "†"),
      ": departs from its recipe, so it has no rank"] : []));
}
function drawHead(group) {
  const columns = visibleColumns(group);
  const runs = families.map((family) => [family, columns.filter((column) => column.domain === family).length]).filter(([, n]) => n);
  group.head.replaceChildren(
    make("tr", {}, make("th", { class: "name" }), make("th", { colspan: leading.length - 1 }),
      ...runs.map(([family, n]) => make("th", { colspan: n, scope: "colgroup" }, family))),
    make("tr", {}, ...leading.map((column) => headCell(group, column)), ...columns.map((column) => headCell(group, column, edge(columns, column)))));
  markSort(group);
}
const edge = (columns, column) => columns[columns.indexOf(column) - 1]?.domain !== column.domain;
function headCell(group, column, first) {
  const [task, ...metric] = (column.domain ? arrow(column) : column.label).split(" ");
  const kind = column.key === "name" ? "name" : first ? "first" : null;
  const title = column.domain ? `${column.title} (${column.unit}, ${column.higher ? "higher" : "lower"} is better)` : column.note;
  return make("th", { class: kind, scope: "col", "data-key": column.key },
    make("button", { type: "button", title, onclick: () => sortBy(group, column) }, task, make("small", {}, metric.join(" "))));
}
function sortBy(group, column) {
  group.sort = { key: column.key, down: group.sort.key === column.key ? !group.sort.down : column.higher };
  markSort(group);
  drawBody(group);
}
function markSort(group) {
  for (const cell of group.head.querySelectorAll("[aria-sort]")) cell.removeAttribute("aria-sort");
  group.head.querySelector(`[data-key="${group.sort.key}"]`)?.setAttribute("aria-sort", group.sort.down ? "descending" : "ascending");
}
function drawBody(group) {
  const [columns, rows] = [visibleColumns(group), visibleRows(group)];
  group.body.replaceChildren(...rows.map((row) => tableRow(group, row, columns)));
  if (!rows.length) group.body.append(make("tr", {}, make("td", { class: "name none" }, "No row matches.")));
  for (const row of rows) if (state.open.has(row.id)) unfold(group, row);
  group.count.textContent = rows.length === group.rows.length ? `${rows.length} rows` : `${rows.length} of ${group.rows.length} rows`;
}
function tableRow(group, row, columns) {
  const top = Math.max(...group.rows.map((other) => other.superb ?? -Infinity));
  return make("tr", { id: row.id, class: state.picked.includes(row.id) ? "picked" : null },
    nameCell(group, row),
    make("td", {}, present(row.rank) ? String(row.rank) : "–"),
    make("td", { class: row.superb === top ? "best" : null }, present(row.superb) ? number(row.superb, 0) : "–"),
    make("td", {}, present(row.params) ? millions(row.params) : "–"),
    ...columns.map((column) => scoreCell(group, row, column, edge(columns, column))));
}
function nameCell(group, row) {
  const tasks = new Set(board.columns.map((column) => column.task)).size;
  const facts = [row.kind === "untrained" ? "untrained control" : row.kind, row.source, row.tasks < tasks ? `${row.tasks} of ${tasks} tasks` : ""];
  return make("th", { class: "name", scope: "row" }, make("div", {},
    make("input", { type: "checkbox", "aria-label": `Compare ${row.name}`, checked: state.picked.includes(row.id), onchange: () => pick(group, row) }),
    make("button", { class: "fold", type: "button", "aria-expanded": "false", "aria-label": `Details of ${row.name}`, onclick: () => toggle(group, row) }),
    make("span", {}, make("strong", {}, row.name), dagger(deviations(row)), make("small", {}, facts.filter(Boolean).join(" · ")))));
}
function scoreCell(group, row, column, first) {
  const cell = row.cells[column.key];
  if (!cell) return make("td", { class: first ? "first none" : "none" }, "–");
  const digits = places(group, column);
  const kind = cell.best ? "best" : cell.tied ? "tied" : null;
  const parts = [make("span", { class: kind }, number(cell.value, digits)), dagger(cell.deviations ?? [])];
  if (hasInterval(cell)) parts.push(make("small", {}, `[${number(cell.lo, digits)}, ${number(cell.hi, digits)}]`), bar(group, column, cell));
  return make("td", { class: first ? "first" : null, title: cell.method ?? null }, ...parts);
}
function bar(group, column, cell) {
  const [low, high] = range(group.rows.flatMap((row) => ["lo", "value", "hi"].map((part) => row.cells[column.key]?.[part])));
  const at = (value) => `${(100 * (value - low) / (high - low || 1)).toFixed(1)}%`;
  return make("span", { class: "bar", style: `--lo:${at(cell.lo)};--hi:${at(cell.hi)};--at:${at(cell.value)}` }, make("i"), make("b"));
}

// ---- details of a row
function toggle(group, row) {
  if (!state.open.delete(row.id)) state.open.add(row.id);
  if (state.open.has(row.id)) return unfold(group, row);
  byId(`${row.id}-details`).remove();
  byId(row.id).querySelector(".fold").setAttribute("aria-expanded", "false");
}
function unfold(group, row) {
  const line = byId(row.id);
  line.querySelector(".fold").setAttribute("aria-expanded", "true");
  const tasks = Object.entries(row.details ?? {}).map(([task, details]) => taskCard(row, task, details));
  line.after(make("tr", { class: "open-row", id: `${row.id}-details` }, make("td", { colspan: leading.length + group.columns.length },
    make("div", { class: "details" }, rowFacts(row),
      tasks.length ? make("div", { class: "tasks" }, ...tasks) : make("p", { class: "soft" }, "Published numbers: no receipts to show.")))));
}
function rowFacts(row) {
  const facts = [["Kind", row.kind], ["Source", row.source], ["Parameters", row.params?.toLocaleString("en")], ["MACs", row.macs?.toExponential(2)],
    ["Hop", present(row.hop) ? `${row.hop} samples` : ""], ["Layers × dim", row.layers ? `${row.layers} × ${row.dim}` : ""],
    ["Revision", row.revision], ["Departs from the recipe", deviations(row).join(", ")]];
  return make("dl", { class: "facts" }, ...facts.filter(([, value]) => value).map(([key, value]) =>
    make("div", {}, make("dt", {}, key), make("dd", {}, String(value)))));
}
function taskCard(row, task, details) {
  const pairs = (record, show) => Object.entries(record ?? {}).map(([key, value]) => `${words(key)} ${show(value)}`).join(", ");
  const sweep = details.sweep ?? [];
  const methods = board.columns.filter((column) => column.task === task).map((column) => row.cells[column.key]?.method);
  const lines = [["Seconds: ", pairs(details.seconds, (value) => value.toFixed(1))], ["Items: ", pairs(details.items, String)],
    ["Interval: ", [...new Set(methods.filter(Boolean))].join("; ")], ["Data: ", details.data ?? ""]];
  return make("div", { class: "task" }, make("h3", {}, board.columns.find((column) => column.task === task)?.title ?? task),
    sweep.length ? receipt(sweep) : null, ...sweep.filter((entry) => entry.chosen).slice(0, 6).map((entry) => make("p", {}, `Chosen: ${choice(entry)}`)),
    ...lines.filter(([, text]) => text).map(([key, text]) => make("p", {}, key + text)),
    make("ul", {}, ...(details.notes ?? []).map((note) => make("li", {}, note))));
}
function choice(entry) {
  const setting = Object.entries(entry.setting ?? {}).map(([key, value]) => `${words(key)} ${value}`);
  const parts = [present(entry.lr) ? `learning rate ${entry.lr.toExponential()}` : "", ...setting, entry.fold === "all" ? "" : `fold ${entry.fold}`,
    entry.seed ? `seed ${entry.seed}` : "", present(entry.dev) ? `dev ${Number(entry.dev.toPrecision(4))}` : entry.status ?? "no dev score"];
  return parts.filter(Boolean).join(", ");
}
/** The sweep as a picture: dev score against learning rate (or against the settings in turn, where nothing was learned). */
function receipt(sweep) {
  const stops = [...new Set(sweep.map((entry) => entry.lr ?? JSON.stringify(entry.setting ?? {})))];
  if (sweep.every((entry) => present(entry.lr))) stops.sort((a, b) => a - b);
  const [low, high] = range(sweep.map((entry) => entry.dev));
  const x = (entry) => 44 + 196 * (stops.indexOf(entry.lr ?? JSON.stringify(entry.setting ?? {})) + 0.5) / stops.length;
  const y = (entry) => (present(entry.dev) ? 72 - 60 * (entry.dev - low) / (high - low || 1) : 72);
  const series = Object.values(Object.groupBy(sweep, (entry) => `${entry.fold} ${entry.seed}`));
  const known = (list) => list.filter((entry) => present(entry.dev)).sort((a, b) => x(a) - x(b));
  const ticks = stops.map((stop, index) => draw("text", { x: 44 + 196 * (index + 0.5) / stops.length, y: 94, "text-anchor": "middle" },
    typeof stop === "number" ? stop.toExponential() : stops.length > 8 ? "" : String(index + 1)));
  return draw("svg", { viewBox: "0 0 240 98", role: "img", "aria-label": `Dev scores of the sweep: ${sweep.map(choice).join("; ")}` },
    draw("line", { class: "axis", x1: 40, x2: 240, y1: 80, y2: 80 }),
    draw("text", { x: 36, y: 15, "text-anchor": "end" }, Number(high.toPrecision(4))), draw("text", { x: 36, y: 75, "text-anchor": "end" }, Number(low.toPrecision(4))),
    ...ticks, ...series.map((list) => draw("polyline", { points: known(list).map((entry) => `${x(entry)},${y(entry)}`).join(" ") })),
    ...[...sweep].sort((a, b) => Boolean(a.chosen) - Boolean(b.chosen)).map((entry) => present(entry.dev)
      ? draw("circle", { cx: x(entry), cy: y(entry), r: entry.chosen ? 4 : 2.5, class: entry.chosen ? "chosen" : null }, draw("title", {}, choice(entry)))
      : draw("text", { x: x(entry), y: 76, class: "lost" }, "×", draw("title", {}, choice(entry)))));
}

// ---- downloads
function download(group, kind, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  make("a", { href: address, download: `superbench-${group.key.replace(/[^A-Za-z0-9._-]+/g, "-")}.${kind}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
/** The visible table, numbers in full. A text that a spreadsheet would run as a formula gets an apostrophe in front. */
function csv(group) {
  const text = (value) => (typeof value === "string" ? value.replace(/^[=+\-@\t\r]/, "'$&") : String(value ?? ""));
  const field = (value) => (/[",\r\n]/.test(text(value)) ? `"${text(value).replaceAll('"', '""')}"` : text(value));
  const columns = visibleColumns(group).map((column) => [column.key, group.rows.some((row) => hasInterval(row.cells[column.key]))]);
  const head = ["name", "origin", "source", "kind", "rank", "superb", "params",
    ...columns.flatMap(([key, wide]) => (wide ? [key, `${key}.lo`, `${key}.hi`] : [key])), "deviations"];
  const lines = visibleRows(group).map((row) => [row.name, row.origin, row.source, row.kind, row.rank, row.superb, row.params,
    ...columns.flatMap(([key, wide]) => ["value", "lo", "hi"].slice(0, wide ? 3 : 1).map((part) => row.cells[key]?.[part])), deviations(row).join("; ")]);
  return [head, ...lines].map((line) => line.map(field).join(",") + "\r\n").join("");
}
function latex(group) {
  const special = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}" };
  const safe = (text) => text.replace(/[\\~^<>]|[&%$#_{}]/g, (sign) => special[sign] ?? `\\${sign}`);
  const columns = visibleColumns(group);
  const score = (row, column) => {
    const cell = row.cells[column.key];
    if (!cell) return "--";
    const value = number(cell.value, places(group, column)).replace("−", "$-$");
    return cell.best ? `\\textbf{${value}}` : cell.tied ? `\\underline{${value}}` : value;
  };
  const line = (row) => [safe(row.name) + (deviations(row).length ? "$^\\dagger$" : ""), row.rank ?? "--",
    present(row.superb) ? number(row.superb, 0).replace("−", "$-$") : "--", present(row.params) ? millions(row.params) : "--",
    ...columns.map((column) => score(row, column))].join(" & ") + " \\\\";
  const head = ["Model", "Rank", "SUPERB $\\uparrow$", "Params (M)",
    ...columns.map((column) => safe(arrow(column)).replace("↑", "$\\uparrow$").replace("↓", "$\\downarrow$"))];
  return [`% ${group.title.replace(/\s+/g, " ")}; made ${board.made} by superbench ${board.version}; needs \\usepackage{booktabs}`,
    `\\begin{tabular}{l${"r".repeat(head.length - 1)}}`, "\\toprule", head.join(" & ") + " \\\\", "\\midrule",
    ...visibleRows(group).map(line), "\\bottomrule", "\\end{tabular}", ""].join("\n");
}

// ---- compare
const groupOf = (id) => groups.find((group) => group.rows.some((row) => row.id === id));
/** At most two rows, of one group: rows of two groups may not be compared. */
function pick(group, row) {
  const others = state.picked.filter((id) => id !== row.id && groupOf(id) === group);
  state.picked = state.picked.includes(row.id) ? others : [...others.slice(-1), row.id];
  drawPicks();
}
function drawPicks() {
  for (const { id } of groups.flatMap((group) => group.rows)) {
    const line = byId(id);
    line?.classList.toggle("picked", state.picked.includes(id));
    if (line) line.querySelector("input").checked = state.picked.includes(id);
  }
  const rows = state.picked.map((id) => groupOf(id).rows.find((row) => row.id === id));
  byId("tray").hidden = !rows.length;
  byId("tray-names").textContent = rows.length === 1 ? `${rows[0].name} and …` : rows.map((row) => row.name).join(" and ");
  byId("comparison").replaceChildren(rows.length === 2 ? comparison(groupOf(rows[0].id), rows)
    : make("p", { class: "soft" }, "Tick two rows of one table to see their differences, task by task."));
  byId("radar").hidden = rows.length !== 2;
  redraw("radar");
}
function comparison(group, [one, two]) {
  const columns = group.columns.filter((column) => one.cells[column.key] && two.cells[column.key]);
  return make("div", {}, make("div", { class: "plain" }, make("table", {},
    make("thead", {}, make("tr", {}, make("th", {}, "Task"), make("th", { class: "one" }, one.name), make("th", { class: "two" }, two.name),
      make("th", {}, "Difference", make("small", {}, "second − first")), make("th", {}, "Intervals"))),
    make("tbody", {}, ...columns.map((column) => comparisonRow(group, column, one, two))))),
  make("p", { class: "soft legend" }, "The mark says who is better. Overlap is a cautious rule: two rows may differ although their intervals overlap. "
    + "The axes of the radar run from the worst visible row of the table (centre) to the best."));
}
function comparisonRow(group, column, one, two) {
  const [a, b] = [one.cells[column.key], two.cells[column.key]];
  const digits = places(group, column);
  const difference = b.value - a.value;
  const winner = difference === 0 ? "soft" : (difference > 0) === column.higher ? "two" : "one";
  const verdict = !hasInterval(a) || !hasInterval(b) ? "–" : a.lo <= b.hi && b.lo <= a.hi ? "overlap" : "clear";
  return make("tr", {}, make("th", { scope: "row", title: column.title }, arrow(column)), make("td", {}, number(a.value, digits)),
    make("td", {}, number(b.value, digits)), make("td", { class: winner }, (difference > 0 ? "+" : "") + number(difference, digits)),
    make("td", { class: verdict === "clear" ? "best" : "soft" }, verdict));
}

// ---- charts
const charts = { radar: drawRadar, cost: drawCost, layers: drawLayers };
const seen = new Set();
const redraw = (id) => seen.has(id) && !byId(id).hidden && charts[id]();
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;"); // plotly reads markup in labels

/** Plotly is megabytes of script: it is run when the first chart comes into view. */
function plotly() {
  if (!window.Plotly) document.head.append(make("script", {}, JSON.parse(byId("plotly").textContent)));
  return window.Plotly;
}
function colour(name) {
  byId("probe").style.color = `var(--${name})`; // the browser resolves light and dark
  return getComputedStyle(byId("probe")).color;
}
function plot(id, traces, layout) {
  const axis = { gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, automargin: true };
  plotly().react(byId(id), traces, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 54, r: 16, t: 16, b: 48 }, showlegend: false, hovermode: "closest",
    font: { family: "system-ui, sans-serif", size: 12, color: colour("soft") }, hoverlabel: { font: { family: "system-ui, sans-serif" } },
    ...layout, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  }, { displayModeBar: false, responsive: true });
}

function drawRadar() {
  const group = groupOf(state.picked[0]);
  const rows = state.picked.map((id) => group.rows.find((row) => row.id === id));
  const columns = group.columns.filter((column) => column.primary && rows.every((row) => present(column.read(row))));
  const shown = [...new Set([...visibleRows(group), ...rows])];
  const scaled = (row, column) => {
    const [low, high] = range(shown.map(column.read));
    const part = (column.read(row) - low) / (high - low || 1);
    return column.higher ? part : 1 - part;
  };
  const ring = (list) => [...list, list[0]];
  const grid = { gridcolor: colour("line"), linecolor: colour("line") };
  plot("radar", rows.map((row, place) => ({
    type: "scatterpolar", name: plain(row.name), theta: ring(columns.map((column) => column.task.toUpperCase())), r: ring(columns.map((column) => scaled(row, column))),
    fillcolor: colour(["one", "two"][place]).replace("rgb(", "rgba(").replace(")", ", 0.14)"), line: { color: colour(["one", "two"][place]), dash: ["solid", "dot"][place], width: 2 }, marker: { size: 6, symbol: ["circle", "square"][place] },
    fill: "toself", hovertemplate: "%{theta}: %{r:.2f}<extra>%{fullData.name}</extra>",
  })), { polar: { bgcolor: "rgba(0,0,0,0)", radialaxis: { range: [0, 1.02], showticklabels: false, ...grid, showline: false }, angularaxis: grid },
    margin: { l: 36, r: 36, t: 28, b: 28 }, showlegend: true, legend: { orientation: "h", x: 0.5, xanchor: "center", y: -0.06 } });
}
function drawCost() {
  const group = groups[byId("cost-group").value];
  const across = byId("cost-size");
  const column = [leading[2], ...group.columns].find((one) => one.key === byId("cost-score").value);
  const points = group.rows.filter((row) => present(column.read(row))).map((row) => ({ row, x: row[across.value], y: column.read(row) }));
  const sized = points.filter((point) => point.x > 0).sort((a, b) => a.x - b.x || (column.higher ? b.y - a.y : a.y - b.y));
  const better = (y, other) => (column.higher ? y > other : y < other);
  const free = points.filter((point) => point.x === 0);
  const front = sized.filter((point, place) => [...sized.slice(0, place), ...free].every((other) => better(point.y, other.y)));
  const trace = (list, more) => ({ x: list.map((point) => point.x), y: list.map((point) => point.y), text: list.map((point) => plain(point.row.name)), ...more });
  const hover = { hovertemplate: "%{text}<br>%{x:.3s}, %{y:.4~f}<extra></extra>" };
  const ticks = [...Array(12).keys()].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** (power + 3)));
  const dim = sized.filter((point) => !front.includes(point));
  plot("cost", [
    trace(front, { mode: "lines", line: { color: colour("one"), width: 1.5, shape: "hv" }, hoverinfo: "skip" }),
    trace(dim, { mode: sized.length > 12 ? "markers" : "markers+text", textposition: "bottom center", cliponaxis: false, marker: { color: colour("soft"), size: 8, opacity: 0.7,
      symbol: dim.map((point) => (point.row.kind === "untrained" ? "circle-open" : "circle")) }, ...hover }),
    trace(front, { mode: "markers+text", textposition: "top center", textfont: { color: colour("ink") }, cliponaxis: false, marker: { color: colour("one"), size: 10, symbol: "diamond" }, ...hover }),
  ], { xaxis: { type: "log", title: { text: across.selectedOptions[0].textContent }, tickvals: ticks, ticktext: ticks.map(short) },
    yaxis: { title: { text: plain(column.domain ? arrow(column) : column.label) }, autorange: column.higher ? true : "reversed" }, margin: { l: 60, r: 28, t: 28, b: 50 },
    shapes: free.map((point) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: point.y, y1: point.y, line: { color: colour("two"), width: 1, dash: "dot" } })),
    annotations: free.map((point) => ({ xref: "paper", x: 0, xanchor: "left", y: point.y, yanchor: "bottom", showarrow: false, text: plain(point.row.name), font: { color: colour("two") } })) });
  const lost = points.filter((point) => !present(point.x)).length + group.rows.length - points.length;
  byId("cost-note").textContent = (free.length ? "Dotted: nothing to learn, no size. " : "") + (sized.some((point) => point.row.kind === "untrained") ? "Open circles: untrained controls. " : "")
    + (lost ? `Left out, for want of a number: ${lost} of ${group.rows.length} rows.` : "");
}
/** [name, weights] of all models in one task (`task:ks`), or of all tasks in one model (`row:row-0-1`). */
function layerRows(group, view) {
  const [kind, key] = view.split(":");
  const mean = (folds) => folds[0].map((_, layer) => folds.reduce((sum, weights) => sum + weights[layer], 0) / folds.length);
  const weights = (row, task) => Object.values(row.details?.[task]?.layer_weights ?? {}).filter((list) => list.length);
  const pairs = kind === "task" ? group.rows.map((row) => [row.name, weights(row, key)])
    : [...new Set(group.columns.map((column) => column.task))].map((task) => [task.toUpperCase(), weights(group.rows.find((row) => row.id === key), task)]);
  return pairs.filter(([, folds]) => folds.length).map(([name, folds]) => [name, mean(folds)]);
}
function drawLayers() {
  const rows = layerRows(groups[byId("layer-group").value], byId("layer-view").value);
  const width = Math.max(...rows.map(([, weights]) => weights.length));
  byId("layers").style.height = `${Math.max(180, 90 + 34 * rows.length)}px`;
  plot("layers", [{
    type: "heatmap", z: rows.map(([, weights]) => weights), x: [...Array(width).keys()], y: rows.map((_, place) => place), zmin: 0, xgap: 2, ygap: 2,
    text: rows.map(([name, weights]) => weights.map(() => plain(name))), hovertemplate: "%{text}, layer %{x}: %{z:.3f}<extra></extra>", texttemplate: width <= 8 && innerWidth > 620 ? "%{z:.2f}" : "",
    colorscale: [[0, colour("tint")], [1, colour("one")]], colorbar: { thickness: 10, outlinewidth: 0 },
  }], { xaxis: { title: { text: "Layer" }, dtick: width > 16 ? 4 : 1, showgrid: false },
    yaxis: { tickvals: rows.map((_, place) => place), ticktext: rows.map(([name]) => plain(name.length > 22 ? `${name.slice(0, 21)}…` : name)), autorange: "reversed", showgrid: false } });
}

// ---- controls
const options = (id, list) => byId(id).replaceChildren(...list.map(([value, text]) => make("option", { value }, text)));
function setCost() {
  const group = groups[byId("cost-group").value];
  const scored = group.rows.some((row) => present(row.superb)) ? [leading[2]] : [];
  options("cost-score", [...scored, ...group.columns].map((column) => [column.key, column.domain ? `${column.title}, ${arrow(column)}` : column.label]));
  options("cost-size", [["params", "Parameters"], ["macs", "MACs"]].filter(([key], place) => !place || group.rows.some((row) => row[key] > 0)));
}
function setLayers() {
  const group = groups[byId("layer-group").value];
  const tasks = [...new Map(group.columns.map((column) => [column.task, column.title]))].map(([task, title]) => [`task:${task}`, `${title}, all models`]);
  const rows = group.rows.map((row) => [`row:${row.id}`, `${row.name}, all tasks`]);
  options("layer-view", [...tasks, ...rows].filter(([value]) => layerRows(group, value).length));
}
const weighed = (group) => group.rows.some((row) => Object.values(row.details ?? {}).some((task) => Object.keys(task.layer_weights ?? {}).length));
function setCharts() {
  const named = groups.map((group, place) => [place, group.title]);
  options("cost-group", named);
  options("layer-group", named.filter(([place]) => weighed(groups[place])));
  byId("weights").hidden = !groups.some(weighed);
  if (!byId("weights").hidden) setLayers();
  setCost();
  byId("cost-group").addEventListener("change", () => { setCost(); redraw("cost"); });
  byId("layer-group").addEventListener("change", () => { setLayers(); redraw("layers"); });
  for (const id of ["cost-score", "cost-size"]) byId(id).addEventListener("change", () => redraw("cost"));
  byId("layer-view").addEventListener("change", () => redraw("layers"));
  const watch = new IntersectionObserver((entries) => {
    for (const { target } of entries.filter((entry) => entry.isIntersecting && !seen.has(entry.target.id))) redraw(seen.add(target.id) && target.id);
  }, { rootMargin: "150px" });
  for (const id of Object.keys(charts)) watch.observe(byId(id));
}
function setFamilies() {
  const flip = (family, button) => {
    if (!state.hidden.delete(family)) state.hidden.add(family);
    button.setAttribute("aria-pressed", String(!state.hidden.has(family)));
    for (const group of groups) { drawHead(group); drawBody(group); }
  };
  byId("families").replaceChildren(...families.map((family) =>
    make("button", { type: "button", "aria-pressed": "true", onclick: (event) => flip(family, event.currentTarget) }, family)));
}
function setTheme() {
  const [system, root] = [matchMedia("(prefers-color-scheme: dark)"), document.documentElement];
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => { byId("theme").textContent = dark() ? "Light" : "Dark"; Object.keys(charts).forEach(redraw); };
  try { const kept = localStorage.getItem("superbench-theme"); if (kept) root.dataset.theme = kept; } catch { /* storage may be off */ }
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("superbench-theme", root.dataset.theme); } catch { /* storage may be off */ }
    show();
  });
  system.addEventListener("change", show);
  show();
}
function start() {
  setTheme();
  setFamilies();
  byId("tables").replaceChildren(...groups.map(groupSection));
  for (const group of groups) { drawHead(group); drawBody(group); }
  byId("query").addEventListener("input", (event) => { state.query = event.target.value.trim().toLowerCase(); groups.forEach(drawBody); redraw("radar"); });
  byId("tray-clear").addEventListener("click", () => { state.picked = []; drawPicks(); });
  drawPicks();
  if (groups.length) return setCharts();
  byId("tables").append(make("p", { class: "card" }, "No rows yet. Add some with: superbench submit DIR --board BOARD"));
  for (const id of ["compare", "charts", "weights"]) byId(id).hidden = true;
}

start();
