// The view of one model: its place in every task with intervals, its receipts, its layer weights, the hardest items.

function modelView(row) {
  const group = groupOf(row);
  const details = detailsOf(row);
  const tasks = group.tasks.filter((task) => details[task]);
  const columns = group.columns.filter((column) => row.cells[column.key]);
  const heat = make("div", { class: "figure" });
  const lines = taskLines(row);
  if (lines.length) figureIn(heat, (width) => heatMap(width, lines, `Layer weights of ${row.name}`));
  return [
    viewHead(row.name, make("span", { class: "badge" }, row.kind === "untrained" ? "untrained control" : row.kind ?? row.origin),
      make("p", { class: "soft" }, standsText(group, row, columns)), factList(row)),
    card("Scores", scoreTable(group, row, columns)),
    row.submissions?.length > 0 && card("Submissions", submissionTable(row)),
    lines.length > 0 && card("Which layers the tasks use",
      make("p", { class: "soft" }, "Weights of the layer mix that the probes learned, task by task; a row adds up to one."), heat),
    tasks.length > 0 ? card("Receipts",
      make("p", { class: "soft" }, "Every point of the sweep with its dev score; the diamond was chosen."),
      make("div", { class: "tasks" }, ...tasks.map((task) => receiptCard(row, task))))
      : make("p", { class: "soft" }, "Published numbers: there are no receipts to show."),
    confusionCard(group, tasks, row),
    hardCard(group, tasks.length ? tasks : [], row),
  ];
}
function viewHead(title, ...parts) {
  return make("div", { class: "view-head" }, make("p", { class: "crumb" }, viewLink("board", "", "← Back to the board"),
    make("span", { class: "soft" }, " Esc")),
    make("h2", { class: "big", tabindex: "-1" }, title, parts[0]), ...parts.slice(1));
}
const card = (title, ...parts) => make("section", { class: "card" }, make("h3", { class: "part" }, title), ...parts);
function standsText(group, row, columns) {
  const count = (holds) => columns.filter((column) => holds(row.cells[column.key], column)).length;
  const best = count((cell) => cell.best);
  const tied = count((cell) => cell.tied && !cell.best);
  const ranked = group.rows.filter((other) => present(other.rank)).length;
  const others = group.rows.filter((other) => other !== row && present(row.rank) && other.rank === row.rank).length;
  const rank = present(row.rank) ? `${ordinal(row.rank)} of ${ranked} by rank points${others ? `, shared with ${plural(others, "other")}` : ""}`
    : deviationsOf(row).length ? "without a rank, because it deviates from its recipe" : "without a rank";
  return `${group.title}: ${rank}. Best in ${best} of ${plural(columns.length, "column")}${tied ? `, tied with the best in ${tied}` : ""}.`;
}
function factList(row) {
  const facts = [
    ["SUPERB score", present(row.superb) && number(row.superb, 0)],
    ["Unpublished", row.hidden && "only members of this board see this row"],
    ["Copy", row.copied],
    ["Same name only", row.namesake && `${row.namesake}: not the published row`],
    ["Family", row.family],
    ["Pretrained on", corpusOf(row)],
    ["Of these, corpora of tasks", (row.seen ?? []).map((task) => task.toUpperCase()).join(", ")],
    ["Source", row.source],
    ["Parameters", row.params?.toLocaleString("en")],
    ["MACs", row.macs && short(row.macs)],
    ["Real-time factor", row.rtf && String(Number(row.rtf.toPrecision(3)))],
    ["Hop", present(row.hop) && `${row.hop} samples, ${row.hop / 16} ms`],
    ["Layers × dim", row.layers && `${row.layers} × ${row.dim}`],
    ["Revision", row.revision],
    ["Examination", row.examination],
    ["Deviates from the recipe", deviationsOf(row).join(", ")],
  ];
  return make("dl", { class: "facts" }, ...facts.filter(([, value]) => value).map(([key, value]) =>
    make("div", {}, make("dt", {}, key), make("dd", {}, value))));
}
function scoreTable(group, row, columns) {
  const swept = columns.some((column) => detailsOf(row)[column.task]?.sweep.length);
  const line = (column) => {
    const cell = row.cells[column.key];
    const of = group.rows.filter((other) => other.cells[column.key] && present(placeOf(group, column, other))).length;
    const place = placeOf(group, column, row);
    return make("tr", {}, rowHead(viewLink("task", column.task, headOf(column)), make("small", {}, column.title)),
      cellOf("", scoreText(group, column, cell), hasInterval(cell) && make("small", {}, intervalText(group, column, cell))),
      cellOf("wide", bar(group, column, cell)),
      cellOf("left", present(place) ? `${ordinal(place)} of ${of}` : "no rank", tieText(cell) && make("small", {}, tieText(cell))),
      swept && cellOf("left", chosenText(detailsOf(row)[column.task]?.sweep ?? []) || "–"));
  };
  const heads = [["Task", "left"], ["Score"], ["better →", "left"], ["Place", "left"], swept && ["Chosen", "left"]];
  return plainTable(`Scores of ${row.name}: ${group.title}`, "scores", heads, make("tbody", {}, ...columns.map(line)));
}
/** Who submitted the results, when, with which version, and the command that made them. */
function submissionTable(row, where = "") {
  const line = (one) => make("tr", {}, rowHead(one.tasks.map((task) => task.toUpperCase()).join(", ")),
    cellOf("left", one.by, one.owner !== one.by && make("small", {}, `now belongs to ${one.owner}`)),
    cellOf("left", whenText(one.at)), cellOf("left", one.version || "not recorded"),
    cellOf("left command", one.command ? make("code", {}, one.command) : "not recorded"));
  return plainTable(`Submissions of ${row.name}${where}`, "submissions",
    [["Tasks", "left"], ["Submitted by", "left"], ["When (UTC)", "left"], ["superbench", "left"], ["Command", "left"]],
    make("tbody", {}, ...row.submissions.map(line)));
}
/** `20261129T054300.123456Z` as a date and a time. */
const whenText = (moment) => moment.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d).*$/, "$1-$2-$3 $4:$5") || "added by hand";
function tieText(cell) {
  if (cell.shared > 0) return `shared with ${plural(cell.shared, "other")}`;
  return cell.tied && !cell.best ? "tied with the best" : "";
}

// ---- confusion matrices
function confusionCard(group, tasks, row) {
  const found = tasks.map((task) => [task, confusionOf(group, task, row)]).filter(([, matrix]) => matrix);
  if (!found.length) return null;
  return card("Which labels it takes for which", make("p", { class: "soft" }, "Rows are the labels, columns the answers; counts of test items."),
    ...found.map(([task, matrix], place) => make("details", { open: place === 0 }, make("summary", {}, titleOf(task)), confusionTable(group, task, matrix))));
}
function confusionTable(group, task, matrix) {
  const line = (counts, index) => {
    const total = counts.reduce((sum, count) => sum + count, 0);
    return make("tr", {}, rowHead(`${index + 1} ${matrix.labels[index]}`),
      ...counts.map((count, column) => cellOf(column === index ? "better" : "", count ? count.toLocaleString("en") : "·")),
      cellOf("", total && matrix.labels[index] !== "(other)" ? `${number(100 * counts[index] / total, 1)} %` : "–"));
  };
  const heads = [["Label", "left"], ...matrix.labels.map((label, index) => [String(index + 1)]), ["Right"]];
  return make("div", {}, plainTable(`Confusion: ${titleOf(task)}, ${group.title}`, "confusion", heads, make("tbody", {}, ...matrix.counts.map(line))),
    matrix.left_out ? make("p", { class: "soft" }, `(other): ${plural(matrix.left_out, "label")} with fewer errors.`) : null);
}

// ---- the hardest items
function hardCard(group, tasks, row = null) {
  const found = tasks.map((task) => [task, hardestOf(group, task)]).filter(([, hard]) => hard?.items.length);
  if (!found.length) return null;
  return card(row ? "The hardest items, and this model's answers" : "The hardest items",
    make("p", { class: "soft" }, "Test items with the largest mean error over all rows of the table. An error of one half or more counts as wrong."),
    ...found.map(([task, hard], place) => make("details", { open: !row || place === 0 },
      make("summary", {}, `${titleOf(task)}, ${plural(hard.items.length, "item")}`), hardTable(group, task, hard, row))));
}
function hardTable(group, task, hard, row) {
  const texts = hard.items.some((item) => present(item.reference));
  const answers = (item) => (item.said ?? []).map(([text, count]) =>
    make("span", { class: "said" }, text || "nothing", count > 1 ? make("small", {}, ` × ${count}`) : null));
  const outcome = { o: ["left better", "✓ right"], x: ["left worse", "✗ wrong"] };
  const line = (item) => make("tr", {}, cellOf("left id", item.fold && item.fold !== "all" ? `${item.fold}: ${item.id}` : item.id),
    texts && cellOf("left", item.reference ?? "–"), texts && cellOf("left", ...answers(item)), cellOf("", `${number(100 * item.error, 0)} %`),
    cellOf("", `${item.wrong} of ${hard.of}`), row && cellOf(...outcome[item.by[row.index]] ?? ["left", "–"]));
  const heads = [["Item", "left"], texts && ["Reference", "left"], texts && ["Wrong answers", "left"], ["Mean error"], ["Wrong in"],
    row && ["This model", "left"]];
  return plainTable(`Hardest items: ${titleOf(task)}, ${group.title}`, "hard", heads, make("tbody", {}, ...hard.items.map(line)));
}
