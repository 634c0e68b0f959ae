// Compares rows of one table: differences from the first row (the reference) with paired intervals, and a radar chart.

function pick(row) {
  const others = state.picked.filter((other) => other !== row && other.place === row.place); // rows of two tables are not comparable
  state.picked = state.picked.includes(row) ? others : [...others.slice(-(MOST - 1)), row];
  drawPicks();
  keepHash();
}
function refer(row) {
  state.picked = [row, ...state.picked.filter((other) => other !== row)];
  drawPicks();
  keepHash();
  byId("comparison").querySelector("button")?.focus();
}
function dropPicks() {
  state.picked = [];
  drawPicks();
  keepHash();
}
function drawPicks() {
  for (const group of groups) {
    for (const [id, line] of group.lines ?? []) {
      const on = state.picked.some((row) => row.id === id);
      line.classList.toggle("picked", on);
      line.querySelector("input").checked = on;
    }
  }
  const rows = state.picked;
  byId("tray").hidden = !rows.length || state.view.kind !== "board";
  byId("tray-names").textContent = rows.length === 1 ? `${rows[0].name} and …` : listed(rows.map((row) => row.name));
  byId("tray-go").hidden = rows.length < 2;
  fill(byId("comparison"), rows.length > 1 ? comparison(groupOf(rows[0]), rows)
    : make("p", { class: "soft" },
      `Tick two rows of one table, or up to ${MOST}, to see their differences task by task and whether those are real.`));
  byId("radar").hidden = byId("radar-note").hidden = rows.length < 2;
  if (rows.length > 1) figureIn(byId("radar"), radar);
}
const tint = (place) => `--own:var(--c${place})`;
const sample = (place) => draw("svg", { class: "sample", viewBox: "0 0 14 14", width: 14, height: 14, "aria-hidden": "true",
  style: tint(place) }, mark(SHAPES[place], 7, 7, 4.2, { class: "own" }));
function comparison(group, rows) {
  const [one, ...others] = rows;
  const columns = visibleColumns(group).filter((column) => rows.some((row) => row.cells[column.key]));
  const paired = columns.some((column) => drawsOf(group, column) || group.pairs?.[column.key]?.length);
  const heads = [["Task", "left"], [make("span", {}, sample(0), " ", one.name, make("small", {}, "the reference"))],
    ...others.map((row, place) => [make("span", {}, sample(place + 1), " ", row.name, make("small", {}, "value, difference"),
      button("make it the reference", () => refer(row), { class: "quiet" })), "left"])];
  return make("div", {}, plainTable(`Differences from ${one.name}`, "differences", heads, make("tbody", {}, ...columns.map((column) => comparisonRow(group, column, one, others)))),
    make("p", { class: "soft legend" }, make("span", {}, make("span", { class: "better" }, "▲ better"), " or ",
      make("span", { class: "worse" }, "▼ worse"), " than the reference, ", make("span", { class: "unsure" }, "≈ not sure"),
      paired ? ": the interval of the difference holds 0" : ": their intervals overlap, a cautious rule"),
    paired ? make("span", {}, "in brackets: 95 % interval of the difference on the same test items, by speaker or session; ",
      "of this one pair, while the ties of the table allow for all pairs") : null));
}
function comparisonRow(group, column, one, others) {
  const digits = digitsOf(group, column);
  const reference = one.cells[column.key];
  const found = others.map((row) => (reference && row.cells[column.key] ? difference(group, column, one, row) : null));
  const reach = Math.max(...found.filter(Boolean).flatMap(({ difference: mid, lo, hi }) => [mid, lo ?? 0, hi ?? 0].map(Math.abs)), 1e-12);
  return make("tr", {}, make("th", { scope: "row", class: "left" }, viewLink("task", column.task, headOf(column), { title: column.title })),
    make("td", {}, reference ? number(reference.value, digits) : "–"),
    ...others.map((row, place) => {
      const cell = row.cells[column.key];
      return make("td", { class: "left" }, cell ? make("span", { class: "value" }, number(cell.value, digits)) : "–",
        ...(found[place] ? differenceParts(column, found[place], reference, cell, digits, reach) : []));
    }));
}
function differenceParts(column, found, one, other, digits, reach) {
  const what = verdict(column, found, one, other);
  const sign = { better: "▲", worse: "▼", unsure: "≈", unknown: "" }[what];
  const at = (value) => `${(50 + 48 * (column.higher ? 1 : -1) * value / reach).toFixed(1)}%`; // better to the right
  const ends = present(found.lo) ? [at(found.lo), at(found.hi)].sort((a, b) => parseFloat(a) - parseFloat(b))
    : [at(found.difference), at(found.difference)];
  return [make("span", { class: what }, `${sign}\u2009${signed(found.difference, digits)}`,
    make("span", { class: "hidden" }, what === "unknown" ? "" : ` ${what === "unsure" ? "not sure" : what}`)),
    present(found.lo) ? make("small", {}, `[${signed(found.lo, digits)}, ${signed(found.hi, digits)}]`) : null,
    found.p > 0.05 && what !== "unsure" ? make("small", { title: "p after Holm's correction for all pairs of the column" },
      `p ${found.p.toFixed(2)} among all pairs`) : null,
    make("span", { class: `bar zero ${what}`, style: `--lo:${ends[0]};--hi:${ends[1]};--at:${at(found.difference)}` })];
}

// ---- radar
/** Each axis runs from the worst visible row (centre) to the best. */
function radar(width) {
  const [group, rows] = [groupOf(state.picked[0]), state.picked];
  const columns = visibleColumns(group).filter((column) => column.primary !== false && rows.every((row) => present(column.read(row))));
  if (columns.length < 3) return make("p", { class: "soft" }, "A radar needs three tasks that all of these rows have.");
  const shown = [...new Set([...visibleRows(group), ...rows])];
  const size = Math.min(width, 460);
  const [middle, radius] = [size / 2, size / 2 - 42];
  const point = (axis, share) => {
    const angle = 2 * Math.PI * axis / columns.length - Math.PI / 2;
    return [middle + radius * share * Math.cos(angle), middle + radius * share * Math.sin(angle)];
  };
  const ring = (shares) => columns.map((_, axis) => point(axis, shares[axis]).map((value) => value.toFixed(1)).join(",")).join(" ");
  const share = (row, column) => {
    const [low, high] = rangeOf(shown.map(column.read));
    const part = (column.read(row) - low) / (high - low || 1);
    return 0.04 + 0.96 * (column.higher ? part : 1 - part);
  };
  const label = `Radar of ${listed(rows.map((row) => row.name))} over ${columns.map((column) => column.task.toUpperCase()).join(", ")}`;
  return svg(size, size, label,
    ...[0.25, 0.5, 0.75, 1].map((part) => draw("polygon", { class: "grid", points: ring(columns.map(() => part)) })),
    ...columns.flatMap((column, axis) => {
      const [[x, y], [tx, ty]] = [point(axis, 1), point(axis, 1 + 20 / radius)];
      return [draw("line", { class: "grid", x1: middle, y1: middle, x2: x, y2: y }),
        draw("text", { class: "name", x: tx, y: ty + 4, "text-anchor": Math.abs(tx - middle) < 12 ? "middle" : tx < middle ? "end"
          : "start" }, column.task.toUpperCase(), draw("title", {}, column.title))];
    }),
    ...rows.map((row, place) => {
      const shares = columns.map((column) => share(row, column));
      return draw("g", { style: tint(place) },
        draw("polygon", { class: "own area", points: ring(shares), "stroke-dasharray": DASHES[place] }),
        ...columns.map((column, axis) => mark(SHAPES[place], ...point(axis, shares[axis]), 3.6, { class: "own" },
          draw("title", {}, `${row.name}, ${headOf(column)}: ${number(column.read(row), digitsOf(group, column))}`))));
    }));
}
