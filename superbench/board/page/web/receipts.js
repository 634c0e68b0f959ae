// Receipts of a sweep: every learning rate or setting, its dev score, and which one was chosen.

const settingText = (setting) => Object.entries(setting ?? {}).map(([key, value]) => `${words(key)} ${value}`).join(", ");
const rateOf = (entry) => (present(entry.lr) ? exponential(entry.lr) : "");
const devText = (entry) => (present(entry.dev) ? String(Number(entry.dev.toPrecision(4))) : entry.status ?? "no dev score");
const foldOf = (entry) => (entry.fold && entry.fold !== "all" ? entry.fold : "");
function pointText(entry) {
  return [present(entry.lr) ? `learning rate ${rateOf(entry)}` : "", settingText(entry.setting), foldOf(entry),
    entry.seed ? `seed ${entry.seed}` : "", `dev ${devText(entry)}`].filter(Boolean).join(", ");
}
/** The chosen learning rates and settings in short; a rate that several folds chose is listed once. */
function chosenText(sweep) {
  const chosen = sweep.filter((entry) => entry.chosen);
  const rates = [...new Set(chosen.map(rateOf))].filter(Boolean);
  const settings = [...new Set(chosen.map((entry) => settingText(entry.setting)))].filter(Boolean);
  return [rates.length ? `lr ${rates.join(", ")}` : "", settings.length <= 2 ? settings.join(" / ") : ""].filter(Boolean).join(", ");
}
/** Only the settings that differ between points: `3` for layer 3 if all points use the same distance. */
function shortSetting(entry, sweep) {
  const differing = Object.entries(entry.setting ?? {}).filter(([key, value]) => sweep.some((other) => other.setting?.[key] !== value));
  return differing.map(([, value]) => value).join(" ");
}
/** Plots dev score against learning rate, or against the settings if there is only one rate. */
function sweepFigure(sweep) {
  const rates = new Set(sweep.map((entry) => entry.lr));
  const stop = rates.size > 1 ? (entry) => entry.lr : (entry) => shortSetting(entry, sweep) || rateOf(entry);
  const stops = [...new Set(sweep.map(stop))];
  if (rates.size > 1) stops.sort((a, b) => a - b);
  const [low, high] = rangeOf(sweep.map((entry) => entry.dev));
  const place = (index) => 50 + 240 * (index + 0.5) / stops.length;
  const x = (entry) => place(stops.indexOf(stop(entry)));
  const y = (entry) => (present(entry.dev) ? 72 - 58 * (entry.dev - low) / (high - low || 1) : 72);
  const series = Object.values(Object.groupBy(sweep, (entry) => `${entry.fold} ${entry.seed}`));
  const known = (list) => list.filter((entry) => present(entry.dev)).sort((a, b) => x(a) - x(b));
  const tick = (value, index) => (typeof value === "number" ? exponential(value) : stops.length > 6 && index % (stops.length - 1) ? ""
    : clipped(value, 14));
  return draw("svg", { viewBox: "0 0 300 98", class: "sweep", role: "img",
    "aria-label": `Dev scores of the sweep: ${sweep.map(pointText).join("; ")}` },
    draw("line", { class: "axis", x1: 46, x2: 296, y1: 80, y2: 80 }),
    draw("text", { x: 42, y: 17, "text-anchor": "end" }, String(Number(high.toPrecision(3)))),
    high === low ? null : draw("text", { x: 42, y: 76, "text-anchor": "end" }, String(Number(low.toPrecision(3)))),
    ...stops.map((value, index) => draw("text", { x: place(index), y: 94, "text-anchor": "middle" }, tick(value, index))),
    ...series.map((list) => draw("polyline",
      { points: known(list).map((entry) => `${x(entry).toFixed(1)},${y(entry).toFixed(1)}`).join(" ") })),
    ...[...sweep].sort((a, b) => Boolean(a.chosen) - Boolean(b.chosen)).map((entry) => (present(entry.dev)
      ? mark(entry.chosen ? "diamond" : "circle", x(entry), y(entry), entry.chosen ? 4 : 2.6, { class: entry.chosen ? "chosen" : "tried" },
        draw("title", {}, pointText(entry)))
      : draw("text", { x: x(entry), y: 77, class: "lost" }, "×", draw("title", {}, pointText(entry))))));
}
/** The sweep as a table; empty columns are left out. */
function sweepTable(label, sweep) {
  const columns = [["Fold", foldOf, "left"], ["Learning rate", rateOf], ["Setting", (entry) => settingText(entry.setting), "left"],
    ["Seed", (entry) => (entry.seed ? String(entry.seed) : "")], ["Updates", (entry) => (entry.steps ? String(entry.steps) : "")],
    ["Dev", devText]].filter(([, read]) => sweep.some(read));
  const line = (entry) => make("tr", { class: entry.chosen ? "chosen" : null }, ...columns.map(([, read, side]) => cellOf(side, read(entry))),
    cellOf("left", entry.chosen ? "✓ chosen" : ""));
  return plainTable(label, null, [...columns.map(([title, , side]) => [title, side]), ["", "left"]], make("tbody", {}, ...sweep.map(line)));
}
/** Number of items of each split; with folds, the range over folds. */
function itemsText(items) {
  const splits = Object.groupBy(Object.entries(items), ([key]) => key.split("/").at(-1));
  return Object.entries(splits).map(([split, counts]) => {
    const [low, high] = rangeOf(counts.map(([, count]) => count)).map((count) => count.toLocaleString("en"));
    return `${split} ${low === high ? low : `${low} to ${high}`}${counts.length > 1 ? ` (each of ${counts.length} folds)` : ""}`;
  }).join(", ");
}
function receiptCard(row, task) {
  const details = detailsOf(row)[task];
  const sweep = details.sweep ?? [];
  const pairs = (record, show) => Object.entries(record ?? {}).map(([key, value]) => `${words(key)} ${show(value)}`).join(", ");
  const lines = [["Seconds: ", pairs(details.seconds, (value) => value.toFixed(1))], ["Items: ", itemsText(details.data?.items ?? {})],
    ["Data: ", details.data?.fingerprint ?? ""]].filter(([, text]) => text);
  return make("div", { class: "task" }, make("h3", {}, viewLink("task", task, titleOf(task))),
    sweep.length > 1 ? sweepFigure(sweep) : null,
    sweep.length ? make("p", {}, make("span", { class: "chosen-mark" }, "◆"),
      ` ${sweep.length > 1 ? "Chosen" : "Only point"}: ${chosenText(sweep) || "nothing to choose"}`,
      sweep.filter((entry) => entry.chosen).length === 1 ? `, dev ${devText(sweep.find((entry) => entry.chosen))}` : "") : null,
    sweep.length > 1 ? make("details", {}, make("summary", {}, `All ${plural(sweep.length, "point")} of the sweep`), sweepTable(`Sweep: ${titleOf(task)}`, sweep))
      : null,
    ...lines.map(([key, text]) => make("p", {}, key + text)),
    (details.notes ?? []).length ? make("details", {}, make("summary", {}, plural(details.notes.length, "note")),
      make("ul", {}, ...details.notes.map((note) => make("li", {}, note)))) : null);
}
