// The chart of a section: chance-centred mean against the size of the model, or against its updates, a line for each K.

/** K = 0, 1, a few (5, else the least greater K), all; those that the section has. */
function lineShots(section) {
  const numbers = section.shots.map(({ k }) => k).filter((k) => k !== "all");
  const few = numbers.includes(5) ? 5 : numbers.find((k) => k > 5) ?? numbers.findLast((k) => k > 1);
  return section.shots.filter(({ k }) => [0, 1, few, "all"].includes(k));
}
/** The tasks of each line, if lines have different ones. */
function overTasks(views) {
  const told = new Set(views.map(tasksAt));
  if (told.size === 1) return ` (${[...told][0]})`;
  const listed = [...told].map((tasks) => `${kText(views.filter((view) => tasksAt(view) === tasks).map(({ k }) => k).join(", "))}: ${tasks}`);
  return ` (${listed.join("; ")}; compare heights within a line)`;
}
const seriesIn = (section) => [...new Set(section.rows.map((row) => row.series).filter(present))];
function drawShotChart(section) {
  const across = [["params", "size of the model"], ...seriesIn(section).map((name) => [`series:${name}`, `updates of ${name}`])];
  if (!across.some(([key]) => key === section.across)) section.across = across[0][0];
  fill(section.kinds, make("h3", { class: "part" }, `Score against ${section.across === "params" ? "size" : "updates"}, by the number of examples`),
    make("p", { class: "soft" }, `Chance-centred mean over the tasks that have this K${overTasks(lineShots(section))}: 0 ignores the sound, 100 is perfect. Lines join pretrained models, of one family where it has several; open marks are untrained controls.`),
    across.length > 1 && make("div", { class: "tools" }, labelled("Across", choice(`across-${section.place}`, across, section.across, (value) => {
      section.across = value;
      drawShotChart(section);
      refocus(section, "across");
    }))));
  figureIn(section.chart, (width) => shotChart(section, width));
}
/** Whether a row is the last checkpoint of its series; true for a row that is in none. */
const isLast = (section, row) => !present(row.series)
  || section.rows.every((other) => other.series !== row.series || other.updates <= row.updates);
/** Points of one K: x is the number of parameters (of a series, its last checkpoint) or of updates. Models without parameters are
    drawn at the left edge. */
function shotPoints(section, view) {
  const series = section.across.startsWith("series:") ? section.across.slice(7) : null;
  const shown = (row) => (series === null ? isLast(section, row) : row.series === series);
  const rows = section.rows.filter((row) => passes(row) && view.rows[row.index]?.[MEAN] && shown(row));
  return rows.map((row) => ({ row, x: series === null ? row.params : row.updates, cell: view.rows[row.index][MEAN],
    y: 100 * view.rows[row.index][MEAN].value })).filter(({ x }) => present(x)).sort((a, b) => a.x - b.x || a.y - b.y);
}
function shotChart(section, width) {
  const lines = lineShots(section).map((view) => ({ view, points: shotPoints(section, view) })).filter(({ points }) => points.length);
  const every = lines.flatMap(({ points }) => points);
  if (!every.length) return make("p", { class: "soft" }, "No row that is shown has a mean over all tasks.");
  const updates = section.across.startsWith("series:");
  const height = Math.max(300, Math.min(440, width * 0.5));
  const free = every.some(({ x }) => x === 0);
  const margin = { left: 46, right: width < 480 ? 62 : 90, top: 34, bottom: 50 };
  const sized = every.map(({ x }) => x).filter((x) => x > 0);
  const [least, most] = sized.length ? rangeOf(sized) : [1, 10];
  const wide = most / least < 4 ? 3 : 1.3;
  const ends = [least / wide, most * wide];
  const edge = margin.left + (free ? 54 : 0);
  const [low, high] = rangeOf(every.flatMap(({ cell, y }) => [y, ...hasInterval(cell) ? [100 * cell.lo, 100 * cell.hi] : []]));
  const pad = (high - low || 1) * 0.06;
  const y = { at: (value) => height - margin.bottom - (height - margin.top - margin.bottom) * (value - low + pad) / (high - low + 2 * pad),
    ticks: ticksOf(low, high), text: (value) => minus(String(value)), title: "Mean above chance, % ↑" };
  const x = { at: (value) => (value === 0 ? margin.left + 24
    : edge + (width - edge - margin.right) * Math.log(value / ends[0]) / Math.log(ends[1] / ends[0])),
    ticks: sized.length ? logTicks(...ends).filter((tick, place, all) => all.length < 8 || width > 700 || place % 3 === 0) : [], text: short, title: updates ? "Updates" : "Parameters" };
  const said = lines.map(({ view, points }) => `${kText(view.k)}: ${points.map(({ row, y: value }) => `${row.name} ${number(value, 1)}`).join(", ")}`);
  return svg(width, height, `Chance-centred mean against ${x.title.toLowerCase()}. ${said.join("; ")}`, frame(width, height, margin, x, y),
    free ? draw("text", { x: margin.left + 24, y: height - margin.bottom + 17, "text-anchor": "middle" }, "none") : null,
    ...lines.map(({ view, points }, place) => shotLine(section, view, points, place, x, y)), ...familyLabels(lines, x, y),
    ...shotLabels(lines, x, y, width, margin));
}
/** The name of each family above the last point of its highest line, if there are several lines for one K. */
function familyLabels(lines, x, y) {
  const several = lines.map(({ points }) => lineages(points).filter((line) => line.length > 1)).filter((found) => found.length > 1);
  const named = Map.groupBy(several.flat(), (line) => line[0].row.family);
  return [...named].map(([family, found]) => {
    const top = found.map((line) => line.at(-1)).reduce((a, b) => (b.y > a.y ? b : a));
    return draw("text", { class: "family-label", x: x.at(top.x), y: y.at(hasInterval(top.cell) ? 100 * top.cell.hi : top.y) - 8, "text-anchor": "middle" }, family);
  });
}
const joined = (points) => points.filter(({ row, x }) => x > 0 && row.kind !== "untrained");
/** The points that one line joins: those of a family, where a family has several; else all. */
function lineages(points) {
  const line = joined(points);
  const families = Object.values(Object.groupBy(line, ({ row }) => row.family || row.name));
  return families.some((family) => family.length > 1) ? families : [line];
}
function shotLine(section, view, points, place, x, y) {
  const colour = `var(--c${place})`;
  return draw("g", {}, ...lineages(points).filter((line) => line.length > 1).map((line) => draw("polyline",
    { fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": DASHES[place],
      points: line.map((point) => `${x.at(point.x).toFixed(1)},${y.at(point.y).toFixed(1)}`).join(" ") })),
    ...points.filter(({ cell }) => hasInterval(cell)).map((point) => draw("line", { class: "whisker", x1: x.at(point.x), x2: x.at(point.x),
      y1: y.at(100 * point.cell.lo), y2: y.at(100 * point.cell.hi) })),
    ...points.map((point) => mark(SHAPES[place], x.at(point.x), y.at(point.y), 4.5,
      { fill: point.row.kind === "untrained" ? "var(--paper)" : colour, stroke: colour, "stroke-width": 2 },
      draw("title", {}, `${point.row.name}, ${kText(view.k)}: ${number(point.y, 1)}`))));
}
/** The K of each line at its right end; labels that would overlap are moved apart. */
function shotLabels(lines, x, y, width, margin) {
  let above = Infinity;
  return lines.map(({ view, points }, place) => ({ view, place, last: joined(points).at(-1) ?? points.at(-1) }))
    .sort((a, b) => a.last.y - b.last.y).map(({ view, place, last }) => {
      above = Math.min(y.at(last.y) + 4, above - 15);
      return draw("text", { class: "shot-label", x: width - margin.right + 6, y: above, style: `fill: var(--c${place})` }, kText(view.k));
    });
}
