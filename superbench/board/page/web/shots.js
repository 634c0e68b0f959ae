// Sections for protocols that train nothing: a choice of K, scores with intervals, ties, floors and controls, differences of
// pairs, and the rank correlation with the probes.

const MEAN = "mean";
const meanColumn = { key: MEAN, title: "Chance-centred mean over tasks", unit: "%", higher: true, scale: 100 };
const sections = (board.sections ?? []).map((section, place) => ({
  ...section, place, against: "",
  rows: section.rows.map((row, index) => ({ ...row, index })),
}));
const kText = (k) => `K = ${k}`;
/** What a section shows at the K of the page; if it has no such K, at its largest. */
const viewOf = (section) => section.shots.find(({ k }) => String(k) === state.shots) ?? section.shots.at(-1);
const columnsAt = (view) => [meanColumn, ...view.columns.map((key) => board.columns.find((column) => column.key === key)).filter(Boolean)];
const digitsAt = (column) => (column.unit === "%" ? 1 : 3);
const scaled = (column, value) => number((column.scale ?? 1) * value, digitsAt(column));
/** The controls of one column: those that any row has; none of the mean. */
const controlsOf = (section, view, column) => (section.against !== "" || column === meanColumn ? []
  : section.controls.filter((name) => Object.values(view.rows).some((cells) => present(cells[column.key]?.controls[name]))));
/** The tasks over which the mean is at this K. */
const tasksAt = (view) => view.columns.map((key) => key.split(".")[0].toUpperCase()).join(", ");

function shotSection(section) {
  section.body = make("div", {});
  section.tools = make("div", { class: "tools" });
  section.chart = make("div", { class: "figure" });
  section.kinds = make("div", {});
  const id = `shots-${section.place}`;
  section.node = make("section", { class: "group", id, "aria-label": section.title },
    make("div", { class: "heading" }, make("div", {}, make("h2", {}, section.title, make("span", { class: "badge" }, "no gradient")),
      make("p", { class: "headline" }), make("p", { class: "soft" }, [section.note, section.reason].filter(Boolean).join(" ")))),
    section.tools, section.body, make("div", { class: "card shot-card" }, section.kinds, section.chart), correlationCard(section),
    submissionsCard(section));
  return section.node;
}
/** Who submitted each row of a section, when, and how it was made. */
function submissionsCard(section) {
  const rows = section.rows.filter((row) => row.submissions?.length);
  return rows.length > 0 && make("details", { class: "refused" }, make("summary", {}, "Submissions"),
    ...rows.flatMap((row) => [make("h4", {}, row.name), submissionTable(row, ` (${section.title})`)]));
}
function drawSections() {
  for (const section of sections) {
    section.node.hidden = Boolean(state.protocol) && state.protocol !== section.key;
    if (!section.node.hidden) drawSection(section);
  }
}
function drawSection(section) {
  const view = viewOf(section);
  const rows = rowsAt(section, view);
  const others = section.rows.filter((row) => view.rows[row.index]);
  if (!others.some((row) => String(row.index) === section.against)) section.against = "";
  const chooseK = (value) => { state.shots = value; drawSections(); keepHash(); refocus(section, "k"); say(`${section.title}: ${kText(value)}`); };
  const chooseRow = (value) => { section.against = value; drawSection(section); refocus(section, "against"); };
  fill(section.tools,
    labelled("Examples (K)", choice(`k-${section.place}`, section.shots.map(({ k }) => [String(k), kText(k)]), String(view.k), chooseK)),
    others.length > 1 && labelled("Show", choice(`against-${section.place}`,
      [["", "scores"], ...others.map((row) => [String(row.index), `difference from ${row.name}`])], section.against, chooseRow)));
  fill(section.node.querySelector(".headline"), ...shotHeadline(section, view));
  fill(section.body, shotTable(section, view, rows), shotLegend(section, view));
  drawShotChart(section);
}
/** The select is drawn again, so it needs the keyboard's focus again. */
const refocus = (section, name) => byId(`${name}-${section.place}`)?.focus({ preventScroll: true });
/** Visible rows, by the place of their mean, then by the mean; rows without a mean come last. */
function rowsAt(section, view) {
  const key = (row) => view.rows[row.index][MEAN];
  return section.rows.filter((row) => view.rows[row.index] && passes(row)).sort((a, b) => {
    const [one, other] = [key(a), key(b)];
    if (!one || !other) return Boolean(other) - Boolean(one) || a.name.localeCompare(b.name, "en", { numeric: true });
    return (one.place ?? Infinity) - (other.place ?? Infinity) || other.value - one.value;
  });
}
function shotHeadline(section, view) {
  const placed = section.rows.filter((row) => view.rows[row.index]?.[MEAN]?.place === 1);
  const tasks = plural(view.columns.length, "task");
  if (!placed.length) return [`At ${kText(view.k)}, no row has a place by its mean over ${tasks}.`];
  const unsure = placed.length > 1 || !placed.every((row) => view.rows[row.index][MEAN].sure);
  return [`At ${kText(view.k)}, over ${tasks}, `, ...named(placed, (row) => linked(row, "leader")),
    placed.length > 1 ? " share the first place: their differences may be chance." : unsure ? " has the greatest mean." : " ranks first."];
}
/** The name of a row, as a link if the board has probes of the same model. */
const linked = (row, kind = null) => (rowCalled(row.name) ? viewLink("model", keyOf(rowCalled(row.name)), breaking(row.name), { class: kind })
  : make("span", { class: kind }, breaking(row.name)));

// ---- the table
function shotTable(section, view, rows) {
  const columns = columnsAt(view);
  const controls = new Map(columns.map((column) => [column, controlsOf(section, view, column)]));
  const heads = columns.flatMap((column) => [shotHead(column, view), ...controls.get(column).map((name) =>
    make("th", { scope: "col", class: "control" }, `${column.task.toUpperCase()}: ${name}`))]);
  const cells = (row) => columns.flatMap((column) => [shotCell(section, view, row, column),
    ...controls.get(column).map((name) => controlCell(view, row, column, name))]);
  const body = rows.map((row) => make("tr", {}, shotName(row),
    make("td", { class: "rank" }, placeAt(view.rows[row.index][MEAN])), ...cells(row)));
  const floor = make("tr", { class: "floor" }, make("th", { class: "name", scope: "row" }, make("div", {}, make("span", {}),
    make("span", {}, make("span", { class: "named" }, "Floor"), make("small", {}, "an answer that ignores the sound")))),
    make("td", {}), ...columns.flatMap((column) => [make("td", {}, column === meanColumn ? scaled(column, 0) : scaled(column, view.floors[column.key])),
      ...controls.get(column).map(() => make("td", {}))]));
  const none = make("tr", {}, make("td", { class: "name none", colspan: heads.length + 2 }, "No row passes the filters."));
  const label = `Table: ${section.title}, ${kText(view.k)}`;
  return scrolling(make("div", { class: "box", tabindex: "0", role: "region", "aria-label": label }, make("table", { class: "shots" },
    make("thead", {}, make("tr", {}, make("th", { class: "name", scope: "col" }, "Model"), make("th", { scope: "col" }, "Place"), ...heads)),
    make("tbody", {}, ...body.length ? body : [none], section.against ? null : floor))));
}
const shotHead = (column, view) => make("th", { scope: "col", title: column === meanColumn
  ? "(score − floor) / (best − floor), averaged over " + `${tasksAt(view)}: 0 ignores the sound, 100 is perfect` : aboutColumn(column) },
  column === meanColumn ? "Mean" : column.task.toUpperCase(),
  make("small", {}, column === meanColumn ? `above chance, ${plural(view.columns.length, "task")}` : `${metricName(column)} ${arrow(column)}`));
const placeAt = (cell) => (present(cell?.place) ? `${cell.shared > 0 ? "=" : ""}${cell.place}` : "–");
function shotName(row) {
  const facts = [row.kind === "untrained" ? "untrained control" : row.family && row.family !== row.name ? row.family : row.kind,
    row.params > 0 && `${short(row.params)} parameters`, present(row.updates) && `${row.updates.toLocaleString("en")} updates`,
    row.hidden && "unpublished", row.copied];
  return make("th", { class: "name", scope: "row" }, make("div", {}, make("span", {}), make("span", {},
    make("span", { class: "named" }, linked(row), dagger(row.deviations ?? [])), make("small", {}, facts.filter(Boolean).join(" · ")))));
}
function shotCell(section, view, row, column) {
  const cell = view.rows[row.index][column.key];
  if (!cell) return make("td", { class: "none", title: column === meanColumn ? "A task is missing, so there is no mean" : null }, "–");
  if (section.against !== "") return differenceCell(section, view, row, column);
  const tied = cell.sure && cell.place === 1 && cell.shared > 0;
  const best = column === meanColumn ? cell.place === 1 && !cell.shared : cell.best;
  const setting = settingText(cell.setting);
  const title = [cell.draws > 1 && `mean of ${cell.draws} draws`, setting, cell.unplaced].filter(Boolean).join("; ");
  return make("td", { title: title || null },
    make("span", { class: best ? "mark best" : tied ? "mark tied" : "mark" }, tied && !best ? "≈\u2009" : null, scaled(column, cell.value)),
    cell.unplaced && column !== meanColumn ? make("small", { class: "beware" }, cell.unplaced) : null,
    hasInterval(cell) ? make("small", {}, `${scaled(column, cell.lo)} – ${scaled(column, cell.hi)}`) : null);
}
function controlCell(view, row, column, name) {
  const value = view.rows[row.index][column.key]?.controls[name];
  return make("td", { class: "control" }, present(value) ? scaled(column, value) : "–");
}
/** A row minus the chosen row, over the same items and the same draws, with its 95 % interval. */
function differenceCell(section, view, row, column) {
  const from = Number(section.against);
  if (row.index === from) return make("td", { class: "soft" }, "reference");
  const [one, other] = [view.rows[row.index][column.key], view.rows[from][column.key]];
  if (!other) return make("td", { class: "none" }, "–");
  const pair = view.pairs[column.key]?.find(([a, b]) => (a === row.index && b === from) || (a === from && b === row.index));
  const factor = column.scale ?? 1;
  const mid = factor * (one.value - other.value);
  const shown = signed(mid, digitsAt(column));
  if (!pair) return make("td", { title: "These two rows were not tested in pairs" }, shown, make("small", {}, "not tested"));
  const half = factor * pair[3];
  const sure = pair[4] <= 0.05;
  const better = (mid > 0) === column.higher;
  return make("td", { title: `p = ${pair[4].toPrecision(2)} after Holm's correction` }, make("span", { class: sure ? better ? "up" : "down" : "" }, shown),
    make("small", {}, sure ? `${better ? "better" : "worse"}, ± ${number(half, digitsAt(column))}` : `≈ may be chance, ± ${number(half, digitsAt(column))}`));
}
function shotLegend(section, view) {
  const cells = Object.values(view.rows).flatMap((row) => Object.values(row)).filter(Boolean);
  return make("p", { class: "legend soft" }, make("span", {}, `Mean: (score − floor) / (best − floor), in per cent, averaged over ${tasksAt(view)}; a row with a hole has none`),
    make("span", {}, make("span", { class: "mark best" }, "bold"), " best of its column"),
    cells.some((cell) => cell.sure && cell.place === 1 && cell.shared > 0) && make("span", {}, make("span", { class: "mark tied" }, "≈ framed"),
      " shares the first place: over the same items and draws, the difference may be chance"),
    section.rows.some((row) => row.deviations?.length) && make("span", {}, make("span", { class: "dagger" }, "†"), " deviates from the recipe, so it has no place"));
}

// ---- beside the probes
function correlationCard(section) {
  const columns = board.columns.filter((column) => section.shots.some((view) => view.correlations[column.key]));
  const heads = [[MEAN, "Mean"], ...columns.map((column) => [column.key, `${column.task.toUpperCase()} ${metricName(column)}`])];
  const having = section.shots.filter((view) => Object.keys(view.correlations).length);
  if (!having.length) return null;
  const text = (found) => (found ? [number(found.value, 2), make("small", {}, hasInterval(found)
    ? `${number(found.lo, 2)} – ${number(found.hi, 2)}` : "no interval", ` · ${plural(found.rows, "row")}`)] : ["–"]);
  return make("div", { class: "card" }, make("h3", { class: "part" }, "Does it order models as the probes do?"),
    make("p", { class: "soft" }, `Spearman's rank correlation with the rows of “${section.probes}”, 95 % intervals by resampling rows and tasks. `
      + "1: the same order. With few rows, an interval says little."),
    plainTable(`Rank correlation with probes: ${section.title}`, null, [["Examples", "left"], ...heads.map(([, name]) => [name])],
      make("tbody", {}, ...having.map((view) => make("tr", {}, rowHead(kText(view.k)),
        ...heads.map(([key]) => cellOf("", ...text(view.correlations[key]))))))));
}
