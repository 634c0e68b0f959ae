// Formats numbers for readers.

const minus = (text) => text.replace("-", "−");
const number = (value, digits) => minus(value.toFixed(digits));
const signed = (value, digits) => (value > 0 ? "+" : "") + number(value, digits);
const millions = (params) => (params === 0 ? "0" : (params / 1e6).toFixed(params < 1e7 ? 2 : params < 1e9 ? 1 : 0));
const exponential = (value) => minus(value.toExponential().replace("e+", "e"));
function short(value) {
  if (value === 0) return "0";
  const [size, unit] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]].find(([least]) => Math.abs(value) >= least) ?? [1, ""];
  return minus(`${Number((value / size).toPrecision(3))}${unit && ` ${unit}`}`);
}
/** Number of digits; one less if the column has intervals, which are wider than the last digit. */
function digitsOf(group, column) {
  group.digits ??= new Map();
  if (!group.digits.has(column.key)) {
    const rough = group.rows.some((row) => hasInterval(row.cells[column.key]));
    group.digits.set(column.key, (column.unit === "%" ? 2 : 4) - (rough ? 1 : 0));
  }
  return group.digits.get(column.key);
}
function rangeOf(values) {
  const known = values.filter(present);
  return known.length ? [known.reduce((a, b) => Math.min(a, b)), known.reduce((a, b) => Math.max(a, b))] : [0, 1];
}
/** Least and greatest number of a column, including the intervals. */
function spanOf(group, column) {
  group.spans ??= new Map();
  if (!group.spans.has(column.key)) {
    group.spans.set(column.key, rangeOf(group.rows.flatMap((row) => ["lo", "value", "hi"].map((part) => row.cells[column.key]?.[part]))));
  }
  return group.spans.get(column.key);
}
const ordinal = (place) => place + (["th", "st", "nd", "rd"][place % 100 > 10 && place % 100 < 14 ? 0 : place % 10] ?? "th");
const listed = (names) => (names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`);
const MOST_NAMED = 3;
/** Nodes that name at most three of some rows, and the number of the others; `link` returns the node of a row. */
function named(rows, link) {
  const shown = rows.slice(0, MOST_NAMED);
  const more = rows.length - shown.length;
  const joint = (place) => (!place ? "" : place === shown.length - 1 && !more ? " and " : ", ");
  return [...shown.flatMap((row, place) => [joint(place), link(row)]), ...(more ? [` and ${more} more`] : [])];
}
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** Round numbers from `low` to `high`, about `count` of them. */
function ticksOf(low, high, count = 5) {
  const raw = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((digit) => digit * power >= raw) * power;
  const found = [];
  for (let tick = Math.ceil(low / step); tick * step <= high + step / 1e6; tick += 1) found.push(Number((tick * step).toPrecision(12)));
  return found;
}
/** Powers of ten; also two and five times each over a small range. */
function logTicks(low, high) {
  const digits = high / low > 1e4 ? [1] : [1, 2, 5];
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const digit of digits) if (digit * 10 ** power >= low && digit * 10 ** power <= high) found.push(digit * 10 ** power);
  }
  return found;
}
