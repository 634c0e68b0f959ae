// Navigation between board, model and task; theme; keyboard; and the first drawing of the page.

/** A link to a view. A plain click keeps the filters; the address of the link also works alone. */
function viewLink(kind, key, text, attributes = {}) {
  const plain = kind === "board" ? "#" : `#${new URLSearchParams({ [kind]: key })}`;
  return make("a", { href: plain, ...attributes, onclick: (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    goTo({ kind, key });
  } }, text);
}
let handled = null;
function goTo(view) {
  if (state.view.kind === "board") state.left = { top: scrollY, from: view };
  state.view = view;
  history.pushState(null, "", here(hashOf()));
  handled = location.hash;
  showView();
}
function showView() {
  const { kind, key } = state.view;
  const row = kind === "model" ? rowCalled(key) : null;
  const found = kind === "model" ? row : kind === "task" ? allTasks.includes(key) : true;
  byId("board-view").hidden = kind !== "board";
  byId("view").hidden = kind === "board";
  document.title = [row?.name ?? (kind === "task" ? titleOf(key) : ""), board.title].filter(Boolean).join(" · ");
  drawPicks();
  if (kind === "board") return comeBack();
  const parts = !found ? nowhere(kind, key) : row ? modelView(row) : taskView(key);
  fill(byId("view"), ...parts);
  scrollTo({ top: 0, behavior: "instant" });
  byId("view").querySelector("h2").focus({ preventScroll: true });
}
const nowhere = (kind, key) => [viewHead("Not on this board"),
  make("p", {}, `There is no ${kind} called ${key} here. It may have been renamed or withdrawn.`)];
/** Returns to the board, at the scroll position and the link that the reader left. */
function comeBack() {
  fill(byId("view"));
  if (!state.left) return;
  scrollTo({ top: state.left.top, behavior: "instant" });
  const { kind, key } = state.left.from;
  const href = `#${new URLSearchParams({ [kind]: key })}`;
  [...byId("board-view").querySelectorAll("a")].find((link) => link.getAttribute("href") === href)?.focus({ preventScroll: true });
  state.left = null;
}
/** The reader changed the address or went back. */
function followHash() {
  if (location.hash === handled) return;
  handled = location.hash;
  readHash();
  setFilters();
  drawTables(true);
  showView();
}

// ---- tables
function drawTables(columns) {
  for (const group of groups) {
    group.section.hidden = !visibleGroups().includes(group);
    if (!group.section.hidden) drawTable(group, columns);
  }
  drawSections();
  if (state.picked.length > 1) drawPicks();
  if (byId("cost").figure) setCharts();
}

// ---- theme and keys
function setTheme() {
  const [system, root] = [matchMedia("(prefers-color-scheme: dark)"), document.documentElement];
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => { byId("theme").textContent = dark() ? "☀ Light" : "☾ Dark"; };
  try { const kept = localStorage.getItem("superbench-theme"); if (kept === "light"
    || kept === "dark") root.dataset.theme = kept; } catch { /* storage may be off */ }
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("superbench-theme", root.dataset.theme); } catch { /* storage may be off */ }
    show();
  });
  system.addEventListener("change", show);
  show();
}
/** Esc closes the open parts one by one; a slash moves to the search field. */
function onKey(event) {
  if (event.key === "Escape") {
    if (!byId("columns").hidden) showColumns(false);
    else if (state.view.kind !== "board") goTo({ kind: "board", key: "" });
    else if (document.activeElement === byId("query") && state.query) { byId("query").value = state.query = ""; narrowed(); }
    else if (state.picked.length) dropPicks();
    else return;
    event.preventDefault();
  } else if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && state.view.kind === "board") {
    event.preventDefault();
    byId("query").focus();
  }
}
/** A jump within the page does not change the address, which contains the filters. */
function jump(event) {
  const target = event.target.closest?.('a[href^="#"]');
  const place = target && !event.defaultPrevented ? byId(target.getAttribute("href").slice(1)) : null;
  if (!place) return;
  event.preventDefault();
  place.scrollIntoView();
  place.focus({ preventScroll: true });
}
async function copyAddress() {
  const done = await navigator.clipboard?.writeText(location.href).then(() => true, () => false); // absent, or forbidden, from disk
  byId("copy").textContent = done ? "Copied" : "See the address bar";
  say(done ? "The address is copied" : "The address bar holds the link");
  setTimeout(() => { byId("copy").textContent = "Copy link"; }, 2000);
}

function start() {
  setTheme();
  readHash();
  handled = location.hash;
  fill(byId("tables"), ...groups.map(tableSection));
  fill(byId("shots"), ...sections.map(shotSection));
  if (groups.every((group) => group.official)) {
    byId("tables").before(byId("shots")); // rows of this board come before the published ones
  }
  if (!groups.length) {
    byId("tables").append(make("p", { class: "card" }, "No rows yet. Add some with: superbench submit DIR --board BOARD"));
    for (const id of ["compare-card", "cost-card", "weights", "tools", "tray"]) byId(id).hidden = true;
    return;
  }
  fill(byId("task-links"), ...allTasks.map((task) => viewLink("task", task, task.toUpperCase(), { title: titleOf(task) })));
  for (const { task, plugin, rows } of board.missing ?? []) {
    byId("tables").prepend(make("p", { class: "card missing", role: "note" }, `The task ${task} is not installed where this page was made: `
      + `${listed(rows)} ${rows.length === 1 ? "is" : "are"} shown without its column. Missing: ${plugin || "its plugin, whose name the results do not tell"}.`));
  }
  if (board.refused?.length) {
    byId("tables").append(make("details", { class: "refused" },
      make("summary", {}, `${plural(board.refused.length, "result")} on the board not shown`),
      make("ul", {}, ...board.refused.map((reason) => make("li", {}, reason)))));
  }
  setFilters();
  listenToFilters();
  drawTables(true);
  showView();
  byId("tray-clear").addEventListener("click", dropPicks);
  byId("copy").addEventListener("click", copyAddress);
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", jump);
  window.addEventListener("popstate", followHash);
  window.addEventListener("hashchange", followHash);
  const charts = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) { charts.disconnect(); setCharts(); }
  }, { rootMargin: "600px" });
  for (const id of ["cost-card", "weights"]) charts.observe(byId(id));
}

start();
