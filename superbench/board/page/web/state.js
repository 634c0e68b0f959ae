// The reader's choices, and the same in the address, so that a copied link shows the same view.

const state = {
  view: { kind: "board", key: "" }, query: "", family: "", size: "", protocol: "", corpus: "",
  hidden: new Set(), sorts: new Map(), picked: [], shots: "",
};
const MOST = 6; // rows compared at once: as many as the palette has colours
const sizes = [
  ["0", "no parameters", (params) => params === 0], ["1", "up to 10 M", (params) => params > 0 && params <= 10e6],
  ["2", "10 to 100 M", (params) => params > 10e6 && params <= 100e6], ["3", "100 to 200 M", (params) => params > 100e6 && params <= 200e6],
  ["4", "over 200 M", (params) => params > 200e6], ["none", "not stated", (params) => !present(params)],
];
const plainFilters = ["family", "size", "protocol", "corpus"];
const sortOf = (group) => state.sorts.get(group.key) ?? { key: "rank", down: false };

function hashOf(view = state.view) {
  const told = new URLSearchParams();
  if (view.kind !== "board") told.set(view.kind, view.key);
  if (state.query) told.set("q", state.query);
  for (const name of plainFilters) if (state[name]) told.set(name, state[name]);
  if (state.shots) told.set("k", state.shots);
  if (state.hidden.size) told.set("hide", [...state.hidden].join(","));
  for (const [key, { key: column, down }] of state.sorts) told.append("sort", `${key}:${down ? "-" : ""}${column}`);
  for (const row of state.picked) told.append("compare", keyOf(row));
  return `#${told}`;
}

/** Reads the state from the address; ignores names that are not on the board. */
function readHash() {
  const told = new URLSearchParams(location.hash.slice(1));
  const [model, task] = [told.get("model"), told.get("task")];
  state.view = { kind: "board", key: "" };
  if (present(model)) state.view = { kind: "model", key: model };
  else if (present(task)) state.view = { kind: "task", key: task };
  state.query = told.get("q") ?? "";
  for (const name of plainFilters) state[name] = told.get(name) ?? "";
  state.shots = told.get("k") ?? "";
  const known = new Set([...leading, ...board.columns].map((column) => column.key));
  state.hidden = new Set((told.get("hide") ?? "").split(",").filter((key) => known.has(key)));
  state.sorts = new Map();
  for (const text of told.getAll("sort")) {
    const [, group, sign, column] = /^(.*):(-?)([^:]*)$/.exec(text) ?? [];
    if (known.has(column)) state.sorts.set(group, { key: column, down: sign === "-" });
  }
  const picked = told.getAll("compare").map(rowCalled).filter(Boolean);
  state.picked = [...new Set(picked)].filter((row) => row.place === picked[0].place).slice(0, MOST);
}
/** This page's address with another hash. In a notebook's frame, a hash alone would be relative to the notebook's address. */
const here = (hash) => location.href.split("#")[0] + hash;
/** Writes the state into the address without a new entry in the browser's history. */
function keepHash() {
  const hash = hashOf();
  if (hash !== location.hash && !(hash === "#" && !location.hash)) history.replaceState(null, "", here(hash));
}

// ---- what is visible
const familyOf = (row) => row.family ?? row.kind ?? "";
const corpusOf = (row) => row.corpus ?? "unknown";
const visibleGroups = () => groups.filter((group) => !state.protocol || state.protocol === group.key);
const visibleColumns = (group) => group.columns.filter((column) => !state.hidden.has(column.key));
const visibleLeading = (group) => group.leading.filter((column) => !state.hidden.has(column.key));
function passes(row) {
  const size = sizes.find(([key]) => key === state.size);
  return row.name.toLowerCase().includes(state.query.trim().toLowerCase()) && (!state.family || familyOf(row) === state.family)
    && (!state.corpus || corpusOf(row) === state.corpus) && (!size || size[2](row.params));
}
function visibleRows(group) {
  const sort = sortOf(group);
  const column = [...leading, ...group.columns].find((candidate) => candidate.key === sort.key) ?? leading[1];
  const sign = sort.down ? -1 : 1;
  return group.rows.filter(passes).sort((a, b) => {
    const [one, other] = [column.read(a), column.read(b)];
    if (!present(one) || !present(other)) return present(other) - present(one); // missing values come last in both directions
    return sign * (typeof one === "string" ? one.localeCompare(other, "en", { numeric: true }) : one - other);
  });
}
