// The data of the page: tables (groups) of rows, their columns, and the details of each number.

const board = JSON.parse(byId("board").textContent);
const domains = [...new Set(board.columns.map((column) => column.domain))];
const arrow = (column) => (column.higher ? "↑" : "↓");
const words = (key) => key.replaceAll("_", " ");
/** Usual spelling of each metric. */
const spelling = { per: "PER", wer: "WER", cer: "CER", eer: "EER", der: "DER", mtwv: "MTWV", slot_type_f1: "slot F1",
  slot_value_cer: "slot CER" };
const metricName = (column) => spelling[column.metric] ?? words(column.metric ?? "");
const headOf = (column) => `${column.task.toUpperCase()} ${metricName(column)}\u00a0${arrow(column)}`;

/** Columns before the scores. */
const leading = [
  { key: "name", label: "Model", higher: false, read: (row) => row.name },
  { key: "rank", label: "Rank", higher: false, read: (row) => row.rank, note: "By the leaderboard's rank points among these rows" },
  { key: "superb", label: "SUPERB", small: "score ↑", higher: true, optional: true, read: (row) => row.superb,
    note: "0 = published FBANK, 1000 = reference state of the art" },
  { key: "params", label: "Size", small: "M params", higher: false, optional: true, read: (row) => row.params,
    note: "Millions of parameters" },
  { key: "corpus", label: "Pretrained", small: "on", higher: false, optional: true, read: (row) => row.corpus ?? null,
    note: "The data that the model declares; unknown if it declares none" },
];
const defaults = { lo: null, hi: null, method: null, best: false, tied: false, deviations: [] };
const withDefaults = (cells) => Object.fromEntries(Object.entries(cells ?? {}).map(([key, cell]) => [key, { ...defaults, ...cell }]));
const groups = board.groups.map((group, place) => ({
  ...group, place,
  rows: group.rows.map((row, index) => ({ ...row, index, place, id: `row-${place}-${index}`, cells: withDefaults(row.cells) })),
  columns: board.columns.filter((column) => group.rows.some((row) => row.cells?.[column.key])).map((column) => ({
    ...column, read: (row) => row.cells[column.key]?.value ?? null,
  })),
}));
for (const group of groups) {
  group.leading = leading.filter((column) => !column.optional || group.rows.some((row) => present(column.read(row))));
  group.tasks = [...new Set(group.columns.map((column) => column.task))];
}
const everyRow = groups.flatMap((group) => group.rows);
const groupOf = (row) => groups[row.place];
const columnsOf = (group, task) => group.columns.filter((column) => column.task === task);
const titleOf = (task) => board.columns.find((column) => column.task === task)?.title ?? task;
const allTasks = [...new Set(board.columns.map((column) => column.task))];

/** A row's name if no other row has it; else with its table, and with its index in the table if necessary. */
const called = Object.groupBy(everyRow, (row) => row.name);
function keyOf(row) {
  const same = called[row.name];
  if (same.length === 1) return row.name;
  const inside = same.filter((other) => other.place === row.place);
  return `${row.name} @${groupOf(row).key}${inside.length > 1 ? `:${inside.indexOf(row)}` : ""}`;
}
const rowsByKey = new Map(everyRow.map((row) => [keyOf(row), row]));
const rowCalled = (key) => rowsByKey.get(key) ?? called[key]?.[0] ?? null;

/** Details of all tables, parsed at the first use. */
let parsedDetails = null;
function behind(group) {
  parsedDetails ??= JSON.parse(byId("behind").textContent);
  return parsedDetails[group.place] ?? {};
}
const unfolded = new Map();
/** Details of a row by task; each point of a sweep is an object. */
function detailsOf(row) {
  if (!unfolded.has(row)) {
    const { details, texts, data } = behind(groupOf(row));
    const tasks = Object.entries(details?.[row.index] ?? {});
    unfolded.set(row, Object.fromEntries(tasks.map(([task, facts]) => [task, { ...facts, sweep: pointsOf(facts.sweep),
      notes: facts.notes.map((place) => texts[place]), data: data?.[task] }])));
  }
  return unfolded.get(row);
}
function pointsOf({ points, chosen: places, ...columns } = { points: 0 }) {
  return Array.from({ length: points }, (_, place) => {
    const point = { chosen: places.includes(place), setting: {} };
    for (const [key, value] of Object.entries(columns)) {
      const cell = Array.isArray(value) ? value[place] : value;
      if (!key.startsWith("setting.")) point[key] = cell;
      else if (present(cell)) point.setting[key.slice(8)] = cell;
    }
    return point;
  });
}
const hardestOf = (group, task) => behind(group).hardest?.[task] ?? null;
const confusionOf = (group, task, row) => behind(group).confusion?.[task]?.[row.index] ?? null;
const drawsOf = (group, column) => behind(group).draws?.[column.key] ?? null;

/** Layer weights of a row in a task; empty if there are none. */
const layersOf = (row, task) => behind(groupOf(row)).details?.[row.index]?.[task]?.layers ?? [];
const deviationsOf = (row) => [...new Set(Object.values(row.cells).flatMap((cell) => cell.deviations ?? []))];
const hasInterval = (cell) => Boolean(cell) && present(cell.lo) && present(cell.hi);
const timed = (group) => group.rows.some((row) => row.rtf > 0);
/** Place of a row in a column, 1 for the best. Rows without a significant difference share a place if the board tested them. */
function placeOf(group, column, row) {
  const cell = row.cells[column.key];
  if (cell.deviations?.length) return null;
  if (present(cell.place)) return cell.place;
  const { value } = cell;
  return 1 + group.rows.filter((other) => present(column.read(other)) && !other.cells[column.key].deviations?.length
    && (column.higher ? column.read(other) > value : column.read(other) < value)).length;
}
