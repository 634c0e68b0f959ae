// The view of one task: all rows from best to worst with their intervals, chosen rates, layer weights, and the hardest items.

function taskView(task) {
  const about = board.columns.find((column) => column.task === task);
  const names = board.columns.filter((column) => column.task === task).map((column) => `${metricName(column)} ${arrow(column)}`);
  const facts = [about.corpus, listed(names), about.domain, about.chosen_on === "test" && "chosen on test, as the official protocol does"];
  const having = visibleGroups().filter((group) => columnsOf(group, task).length);
  return [
    viewHead(about.title, make("span", { class: "badge" }, task), make("p", { class: "soft" }, facts.filter(Boolean).join(" · ")),
      filtering() && make("p", { class: "soft" }, "Only rows that pass the board's filters.")),
    ...having.flatMap((group) => taskCards(group, task)),
  ];
}
function taskCards(group, task) {
  const columns = columnsOf(group, task);
  const rows = visibleRows(group).filter((row) => row.cells[columns[0].key]);
  if (!rows.length) return [];
  const lines = rows.slice(0, FEW).map((row) => ({ name: row.name, weights: layersOf(row, task) })).filter(({ weights }) => weights.length);
  const heat = make("div", { class: "figure" });
  if (lines.length) figureIn(heat, (width) => heatMap(width, lines, `Layer weights, ${titleOf(task)}`));
  return [
    card(group.title, ...columns.flatMap((column) => [
      make("h4", {}, `${words(column.metric)} ${arrow(column)}`, make("small", {}, column.unit === "%" ? " per cent" : ` ${column.unit}`)),
      ladder(group, column, rows),
    ])),
    lines.length > 0 && card(`Which layers, ${group.title}`, heat),
    ratesCard(group, task, rows),
    hardCard(group, [task]),
  ];
}
function placeText(group, column, row) {
  const place = placeOf(group, column, row);
  return present(place) ? `${row.cells[column.key].shared > 0 ? "=" : ""}${place}` : "–";
}

/** Rows from best to worst, each with its interval on a common scale; better is to the right. */
function ladder(group, column, rows) {
  const sign = column.higher ? 1 : -1;
  const ordered = rows.filter((row) => present(column.read(row))).sort((a, b) => sign * (column.read(b) - column.read(a)));
  const sure = rows.some((row) => hasInterval(row.cells[column.key]));
  const body = make("tbody");
  slices(body, ordered, 30, (row) => {
    const cell = row.cells[column.key];
    body.append(make("tr", {}, cellOf("soft", placeText(group, column, row)),
      rowHead(viewLink("model", keyOf(row), row.name), dagger(cell.deviations)), cellOf("", scoreText(group, column, cell)),
      cellOf("wide", bar(group, column, cell)), sure && cellOf("left soft", hasInterval(cell) ? intervalText(group, column, cell) : "")));
  });
  const ends = column.higher ? spanOf(group, column) : spanOf(group, column).toReversed();
  const [left, right] = ends.map((end) => make("span", {}, number(end, digitsOf(group, column))));
  const scale = make("span", { class: "ends" }, left, make("span", {}, "better →"), right);
  return plainTable(`Places: ${headOf(column)}, ${group.title}`, "ladder", [["Place"], ["Model", "left"], ["Score"], [scale, "wide"], sure && ["95 % interval", "left"]], body);
}
function ratesCard(group, task, rows) {
  const swept = rows.filter((row) => detailsOf(row)[task]?.sweep.length);
  if (!swept.length) return null;
  const body = make("tbody");
  slices(body, swept, 30, (row) => {
    const { sweep } = detailsOf(row)[task];
    const devs = sweep.map((entry) => entry.dev).filter(present);
    const [least, greatest] = devs.length ? rangeOf(devs).map((dev) => devText({ dev })) : ["–", "–"];
    body.append(make("tr", {}, rowHead(viewLink("model", keyOf(row), row.name)), cellOf("left", chosenText(sweep) || "the only point"),
      cellOf("", String(sweep.length)), cellOf("", least), cellOf("", greatest)));
  });
  const heads = [["Model", "left"], ["Chosen", "left"], ["Points tried"], ["Least dev"], ["Greatest dev"]];
  return card(`What was chosen on dev, ${group.title}`, plainTable(`Choices: ${group.title}`, null, heads, body));
}
