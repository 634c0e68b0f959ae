// The page of one task: all rows from best to worst with their intervals, chosen rates, layers, and the hardest items.

function taskView(task) {
  const about = board.columns.find((column) => column.task === task);
  const names = board.columns.filter((column) => column.task === task).map((column) => `${metricName(column)} ${arrow(column)}`);
  const having = visibleGroups().filter((group) => columnsOf(group, task).length);
  return [
    viewHead(about.title, make("span", { class: "badge" }, task), make("p", { class: "soft" }, [about.corpus, listed(names), about.domain, about.chosen_on === "test" ? "chosen on test, as the official protocol does" : ""].filter(Boolean).join(" · ")),
      state.query || plainFilters.some((name) => state[name]) ? make("p", { class: "soft" }, "Only rows that pass the board's filters.") : null),
    ...having.flatMap((group) => taskCards(group, task)),
  ];
}
function taskCards(group, task) {
  const [column, ...others] = columnsOf(group, task);
  const rows = visibleRows(group).filter((row) => row.cells[column.key]);
  if (!rows.length) return [];
  const lines = rows.slice(0, FEW).map((row) => ({ name: row.name, weights: layersOf(row, task) })).filter(({ weights }) => weights.length);
  const heat = make("div", { class: "figure" });
  if (lines.length) figureIn(heat, (width) => heatMap(width, lines, `Layer weights, ${titleOf(task)}`));
  return [
    card(group.title, ...[column, ...others].flatMap((one) => [make("h4", {}, `${words(one.metric)} ${arrow(one)}`, make("small", {}, one.unit === "%" ? " per cent" : ` ${one.unit}`)), ladder(group, one, rows)])),
    lines.length > 0 && card(`Which layers, ${group.title}`, heat),
    ratesCard(group, task, rows),
    hardCard(group, [task]),
  ];
}
function placeText(group, column, row) {
  const place = placeOf(group, column, row);
  return present(place) ? `${row.cells[column.key].shared > 0 ? "=" : ""}${place}` : "–";
}
/** Rows from best to worst, each with its interval on a common scale. */
function ladder(group, column, rows) {
  const listedRows = rows.filter((row) => present(column.read(row))).sort((a, b) => (column.higher ? 1 : -1) * (column.read(b) - column.read(a)));
  const body = make("tbody");
  const sure = rows.some((row) => hasInterval(row.cells[column.key]));
  const line = (row) => make("tr", {}, make("td", { class: "soft" }, placeText(group, column, row)), make("th", { scope: "row", class: "left" }, viewLink("model", keyOf(row), row.name), dagger(row.cells[column.key].deviations ?? [])),
    make("td", {}, scoreText(group, column, row.cells[column.key])),
    make("td", { class: "wide" }, hasInterval(row.cells[column.key]) ? bar(group, column, row.cells[column.key]) : dotBar(group, column, row.cells[column.key])),
    sure && make("td", { class: "left soft" }, hasInterval(row.cells[column.key]) ? intervalText(group, column, row.cells[column.key]) : ""));
  slices(body, listedRows, 30, (row) => body.append(line(row)));
  const [left, right] = column.higher ? spanOf(group, column) : spanOf(group, column).toReversed(); // better to the right
  const digits = digitsOf(group, column);
  return make("div", { class: "plain" }, make("table", { class: "ladder" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Place"), make("th", { scope: "col", class: "left" }, "Model"), make("th", { scope: "col" }, "Score"),
    make("th", { scope: "col", class: "wide" }, make("span", { class: "ends" }, make("span", {}, number(left, digits)), make("span", {}, "better →"), make("span", {}, number(right, digits)))), sure && make("th", { scope: "col", class: "left" }, "95 % interval"))), body));
}
function ratesCard(group, task, rows) {
  const swept = rows.filter((row) => detailsOf(row)[task]?.sweep?.length);
  if (!swept.length) return null;
  const body = make("tbody");
  slices(body, swept, 30, (row) => {
    const sweep = detailsOf(row)[task].sweep;
    const devs = sweep.map((entry) => entry.dev).filter(present);
    body.append(make("tr", {}, make("th", { scope: "row", class: "left" }, viewLink("model", keyOf(row), row.name)), make("td", { class: "left" }, chosenText(sweep) || "the only one"),
      make("td", {}, String(sweep.length)), make("td", {}, devs.length ? devText({ dev: devs.reduce((a, b) => Math.min(a, b)) }) : "–"), make("td", {}, devs.length ? devText({ dev: devs.reduce((a, b) => Math.max(a, b)) }) : "–")));
  });
  return card(`What was chosen on dev, ${group.title}`, make("div", { class: "plain" }, make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col", class: "left" }, "Model"), make("th", { scope: "col", class: "left" }, "Chosen"),
    make("th", { scope: "col" }, "Points tried"), make("th", { scope: "col" }, "Least dev"), make("th", { scope: "col" }, "Greatest dev"))), body)));
}
