// Two charts of a table: score against cost, with the Pareto front (rows that no cheaper row beats), or against the updates of a
// series of checkpoints; and layer weights.

const costs = [["params", "Parameters"], ["macs", "MACs"], ["rtf", "Real-time factor"]];
const chosen = { costGroup: 0, score: "", cost: "", layerGroup: 0, layerView: "" };

function setCharts() {
  const named = groups.map((group, place) => [place, group.title]);
  const weighed = named.filter(([place]) => groups[place].rows.some((row) => groups[place].tasks.some((task) => layersOf(row,
    task).length)));
  byId("weights").hidden = !weighed.length;
  const host = byId("cost-tools");
  if (state.protocol) chosen.costGroup = groups.findIndex((group) => group.key === state.protocol);
  const group = groups[chosen.costGroup];
  const scores = [...group.rows.some((row) => present(row.superb)) ? [["superb", "SUPERB score ↑"]] : [],
    ...group.columns.map((column) => [column.key, `${column.title}: ${metricName(column)} ${arrow(column)}`])];
  const across = [...costs.filter(([key], place) => !place || group.rows.some((row) => row[key] > 0)),
    ...seriesIn(group).map((name) => [`series:${name}`, `Updates of ${name}`])];
  if (!scores.some(([key]) => key === chosen.score)) chosen.score = scores[0]?.[0];
  if (!across.some(([key]) => key === chosen.cost)) chosen.cost = across[0][0];
  const change = (name) => (value) => { chosen[name] = value; setCharts(); };
  fill(host, named.length > 1 && labelled("Rows", choice("cost-group", named, chosen.costGroup, change("costGroup"))),
    labelled("Up", choice("cost-score", scores, chosen.score, change("score"))),
      labelled("Across", choice("cost-size", across, chosen.cost, change("cost"))));
  figureIn(byId("cost"), (width) => costChart(groups[chosen.costGroup], width));
  if (weighed.length) setLayers(weighed);
}

// ---- score against cost
const isSeries = () => chosen.cost.startsWith("series:");
/** What lies across for a row: its cost, or its updates; null if it is no checkpoint of the chosen series. */
const acrossOf = (row) => (!isSeries() ? row[chosen.cost] : row.series === chosen.cost.slice(7) ? row.updates : null);
function costChart(group, width) {
  const column = chosen.score === "superb" ? { ...leading[2], title: "SUPERB score", unit: "" }
    : group.columns.find((one) => one.key === chosen.score);
  const rows = group.rows.filter((row) => passes(row) && (!isSeries() || present(acrossOf(row))));
  const points = rows.filter((row) => present(column.read(row))).map((row) => ({ row, x: acrossOf(row), y: column.read(row),
    cell: row.cells[column.key] }));
  const sized = points.filter((point) => point.x > 0).sort((a, b) => a.x - b.x || (column.higher ? b.y - a.y : a.y - b.y));
  const free = points.filter((point) => point.x === 0);
  const beats = (y, other) => (column.higher ? y > other : y < other);
  let best = free.map((point) => point.y).reduce((a, b) => (beats(a, b) ? a : b), column.higher ? -Infinity : Infinity);
  const front = isSeries() ? sized : sized.filter((point) => beats(point.y, best) && ((best = point.y), true));
  noteCost(rows, points, free, front);
  if (!points.length) return make("p", { class: "soft" }, "No row that is shown has this score.");
  const height = Math.max(300, Math.min(460, width * 0.5));
  const margin = { left: 56, right: 24, top: 34, bottom: 50 };
  const [low, high] = rangeOf([...sized, ...free].map((point) => point.y));
  const pad = (high - low || 1) * 0.08;
  const wide = sized.length && sized.at(-1).x / sized[0].x < 4 ? 4 : 1.5;
  const xs = sized.length ? [sized[0].x / wide, sized.at(-1).x * wide] : [1, 10];
  const up = (value) => (value - low + pad) / (high - low + 2 * pad);
  const y = { at: (value) => margin.top + (height - margin.top - margin.bottom) * (column.higher ? 1 - up(value) : up(value)),
    ticks: ticksOf(low, high), text: (value) => minus(String(value)), title: column.title + (column.domain ? `, ${metricName(column)}`
      : "") + ` ${arrow(column)}` };
  const x = { at: (value) => margin.left + (width - margin.left - margin.right) * Math.log(value / xs[0]) / Math.log(xs[1] / xs[0]),
    ticks: logTicks(...xs), text: short, title: isSeries() ? "Updates" : costs.find(([key]) => key === chosen.cost)[1] };
  const joins = isSeries() ? "the checkpoints" : "the rows that no cheaper row beats";
  return svg(width, height, `${y.title} against ${x.title}; ${joins}: ${listed(front.map(({ row }) => row.name)) || "none"}`,
    frame(width, height, margin, x, y), ...free.map((point) => freeLine(point, width, margin, y)),
      isSeries() ? pathLine(front, x, y) : frontLine(front, x, y, width - margin.right),
    ...whiskers(sized, x, y), ...sized.map((point) => dot(point, front.includes(point), x, y, column, group)),
      ...namesOf(front, sized, x, y, width));
}
const freeLine = (point, width, margin, y) => draw("g", { class: "free" },
  draw("line", { x1: margin.left, x2: width - margin.right, y1: y.at(point.y), y2: y.at(point.y) }),
  draw("text", { x: width - margin.right, y: y.at(point.y) - 5, "text-anchor": "end" }, point.row.name));
function frontLine(front, x, y, right) {
  const path = front.map((point, place) => (place ? `H${x.at(point.x)}V${y.at(point.y)}` : `M${x.at(point.x)} ${y.at(point.y)}`)).join("");
  return path ? draw("path", { class: "front", d: `${path}H${right}` }) : null;
}
const pathLine = (points, x, y) => draw("polyline", { class: "front",
  points: points.map((point) => `${x.at(point.x).toFixed(1)},${y.at(point.y).toFixed(1)}`).join(" ") });
const whiskers = (points, x, y) => points.filter(({ cell }) => points.length <= 40 && hasInterval(cell)).map(({ x: across, cell }) =>
  draw("line", { class: "whisker", x1: x.at(across), x2: x.at(across), y1: y.at(cell.lo), y2: y.at(cell.hi) }));
function dot({ row, x: across, y: value }, leads, x, y, column, group) {
  const digits = column.domain ? digitsOf(group, column) : 0;
  const shape = mark(leads ? "diamond" : "circle", x.at(across), y.at(value), leads ? 5 : 4.5,
    { class: `dot${leads ? " leads" : ""}${row.kind === "untrained" ? " control" : ""}` },
    draw("title", {}, `${row.name}: ${number(value, digits)}, ${short(across)}`));
  shape.addEventListener("click", () => goTo({ kind: "model", key: keyOf(row) }));
  return shape;
}
/** Names next to points, first those of the front; names that would overlap are left out. */
function namesOf(front, sized, x, y, width) {
  const taken = [];
  const others = sized.length <= 14 ? sized.filter((point) => !front.includes(point)) : [];
  return [...front.toReversed(), ...others].flatMap((point) => {
    const text = clipped(point.row.name, 24);
    const wide = 7 * text.length;
    const at = Math.min(Math.max(x.at(point.x), wide / 2 + 60), width - wide / 2 - 4);
    const above = y.at(point.y) - 11;
    const free = (top) => taken.every(([cx, cy, w]) => Math.abs(cx - at) > (w + wide) / 2 || Math.abs(cy - top) > 13);
    const top = [above, y.at(point.y) + 20].find(free);
    if (top === undefined) return [];
    taken.push([at, top, wide]);
    return [draw("text", { class: front.includes(point) ? "name leads" : "name", x: at, y: top, "text-anchor": "middle" }, text)];
  });
}
function noteCost(rows, points, free, front) {
  byId("cost-line").textContent = isSeries() ? "The line joins the checkpoints of one model." : "The line joins the rows that no cheaper row beats.";
  if (isSeries()) {
    fill(byId("cost-note"), free.length ? "Dotted lines: checkpoints before the first update. " : null);
    return;
  }
  const lost = rows.length - points.filter((point) => present(point.x)).length;
  fill(byId("cost-note"), front.length ? make("span", {}, "No cheaper row beats ",
    ...front.flatMap((point, place) => [place ? ", " : "", viewLink("model", keyOf(point.row), point.row.name)]), ". ") : null,
    free.length ? "Dotted lines: models without parameters. " : null, points.some(({ row, x }) => row.kind === "untrained" && x > 0)
      ? "Open circles: untrained controls. " : null,
    lost ? `Left out, because the number is missing: ${lost} of ${plural(rows.length, "row")}.` : null);
}

// ---- layers
const FEW = 40;
/** {name, weights} of all tasks of one model (`model:NAME`), or of the shown models in one task (`task:ks`). */
function layerLines(group, view) {
  const [, kind, key] = /^(\w+):(.*)$/s.exec(view) ?? [];
  const lines = kind === "model" ? taskLines(rowCalled(key)) : visibleRows(group).slice(0,
    FEW).map((row) => ({ name: row.name, weights: layersOf(row, key) }));
  return lines.filter(({ weights }) => weights.length);
}
const taskLines = (row) => groupOf(row).tasks.map((task) => ({ name: task.toUpperCase(),
  weights: layersOf(row, task) })).filter(({ weights }) => weights.length);
function setLayers(weighed) {
  if (!weighed.some(([place]) => place === Number(chosen.layerGroup))) chosen.layerGroup = weighed[0][0];
  const group = groups[chosen.layerGroup];
  const rows = group.rows.filter((row) => taskLines(row).length);
  const views = [...rows.map((row) => [`model:${keyOf(row)}`, `${row.name}, all tasks`]),
    ...group.tasks.map((task) => [`task:${task}`, `${titleOf(task)}, all models`])];
  if (!views.some(([key]) => key === chosen.layerView)) {
    const deepest = rows.reduce((best, row) => (depthOf(row) > depthOf(best) ? row : best));
    chosen.layerView = `model:${keyOf(deepest)}`;
  }
  const change = (name) => (value) => { chosen[name] = value; setLayers(weighed); };
  fill(byId("layer-tools"), weighed.length > 1 && labelled("Rows", choice("layer-group", weighed, chosen.layerGroup, change("layerGroup"))),
    labelled("Show", choice("layer-view", views, chosen.layerView, change("layerView"))));
  figureIn(byId("layers"), (width) => {
    const lines = layerLines(group, chosen.layerView);
    return lines.length ? heatMap(width, lines, `Layer weights: ${views.find(([key]) => key === chosen.layerView)[1]}`)
      : make("p", { class: "soft" }, "No row that is shown has layer weights.");
  });
}
const depthOf = (row) => Math.max(0, ...groupOf(row).tasks.map((task) => layersOf(row, task).length));
