// Downloads: the visible rows and columns in their present order, with unrounded numbers.

function downloads(group) {
  const kinds = [["CSV", "csv", "text/csv", asCsv], ["LaTeX", "tex", "text/plain", asLatex], ["JSON", "json", "application/json", asJson]];
  return kinds.map(([text, kind, type, write]) => button(text, () => save(group, kind, type, write(group)),
    { title: `Download what is shown as ${text}`, "aria-label": `Download ${group.title} as ${text}` }));
}
function save(group, kind, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  make("a", { href: address, download: `superbench-${group.key.replace(/[^A-Za-z0-9._-]+/g, "-")}.${kind}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
  say(`${group.title} saved as ${kind}`);
}
const facts = ["name", "origin", "source", "kind", "family", "corpus", "rank", "superb", "params", "macs", "rtf", "copied"];

/** Puts an apostrophe before a text that a spreadsheet would run as a formula. */
function asCsv(group) {
  const text = (value) => (typeof value === "string" ? value.replace(/^(?=\s*[=+\-@＝＋－＠]|[\t\r\n])/, "'") : String(value ?? ""));
  const field = (value) => (/[",\r\n]/.test(text(value)) ? `"${text(value).replaceAll('"', '""')}"` : text(value));
  const kept = facts.filter((fact) => group.rows.some((row) => present(row[fact]) && row[fact] !== ""));
  const columns = visibleColumns(group).map((column) => [column.key, group.rows.some((row) => hasInterval(row.cells[column.key]))]);
  const head = [...kept, ...columns.flatMap(([key, wide]) => (wide ? [key, `${key}.lo`, `${key}.hi`, `${key}.tied`] : [key])),
    "deviations"];
  const lines = visibleRows(group).map((row) => [...kept.map((fact) => row[fact]),
    ...columns.flatMap(([key, wide]) => ["value", "lo", "hi", "tied"].slice(0, wide ? 4 : 1).map((part) => row.cells[key]?.[part])),
      deviationsOf(row).join("; ")]);
  return [head, ...lines].map((line) => `${line.map(field).join(",")}\r\n`).join("");
}
function asJson(group) {
  const columns = visibleColumns(group);
  const rows = visibleRows(group).map((row) => ({ ...Object.fromEntries(facts.map((fact) => [fact, row[fact] ?? null])),
    scores: Object.fromEntries(columns.filter((column) => row.cells[column.key]).map((column) => [column.key, row.cells[column.key]])) }));
  const { title, key, note } = group;
  const shown = columns.map(({ read: _, ...column }) => column);
  return `${JSON.stringify({ title, key, note, made: board.made, superbench: board.version, columns: shown, rows }, null, 1)}\n`;
}
function asLatex(group) {
  const special = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}",
    ">": "\\textgreater{}" };
  const safe = (text) => text.replace(/\s+/g, " ").replace(/[\\~^<>]|[&%$#_{}]/g, (sign) => special[sign] ?? `\\${sign}`);
  const arrows = (text) => text.replace("↑", "$\\uparrow$").replace("↓", "$\\downarrow$");
  const [columns, front] = [visibleColumns(group), visibleLeading(group)];
  const score = (row, column) => {
    const cell = row.cells[column.key];
    if (!cell) return "--";
    const value = number(cell.value, digitsOf(group, column)).replace("−", "$-$");
    return cell.best ? `\\textbf{${value}}` : cell.tied ? `\\underline{${value}}` : value;
  };
  const fronts = { name: ["Model", (row) => safe(row.name) + (deviationsOf(row).length ? "$^\\dagger$" : "")],
    rank: ["Rank", (row) => String(row.rank ?? "--")],
    superb: ["SUPERB $\\uparrow$", (row) => (present(row.superb) ? number(row.superb, 0).replace("−", "$-$") : "--")],
      params: ["Params (M)", (row) => (present(row.params) ? millions(row.params) : "--")],
      corpus: ["Pretrained on", (row) => safe(corpusOf(row))] };
  const line = (row) => [...front.map((column) => fronts[column.key][1](row)),
    ...columns.map((column) => score(row, column))].join(" & ") + " \\\\";
  const head = [...front.map((column) => fronts[column.key][0]), ...columns.map((column) => arrows(safe(headOf(column))))];
  const copied = visibleRows(group).filter((row) => row.copied).map((row) => `% ${`${row.name}: ${row.copied}`.replace(/\s+/g, " ")}`);
  return [`% ${group.title.replace(/\s+/g, " ")}; made ${board.made} by superbench ${board.version}; needs \\usepackage{booktabs}`,
    "% bold: best of its column; underlined: tied with the best", ...copied,
    `\\begin{tabular}{l${"r".repeat(head.length - 1)}}`, "\\toprule", head.join(" & ") + " \\\\", "\\midrule",
      ...visibleRows(group).map(line), "\\bottomrule", "\\end{tabular}", ""].join("\n");
}
