// Confidence interval of the difference of two rows, from their scores under the same resamples of the test items.

/** Decodes 16-bit steps between the least and the greatest value; 65535 means "no value". */
function unpacked({ lo, hi, steps }) {
  const bytes = Uint8Array.from(atob(steps), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 2 }, (_, index) => {
    const step = view.getUint16(2 * index, true);
    return step === 65535 ? NaN : lo + (hi - lo) * step / 65534;
  });
}
const spreadOf = (values) => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
};
/** Variance of a bootstrap over groups, or (with folds) of a jackknife that leaves out one group at a time. */
function varianceOf(values, { folds, scale }) {
  const finite = values.filter(Number.isFinite);
  if (!folds.length) return scale * spreadOf(finite) / (finite.length - 1);
  return Object.values(Object.groupBy(values.map((value, index) => ({ value, fold: folds[index] })), ({ fold }) => fold))
    .map((list) => list.map(({ value }) => value).filter(Number.isFinite)).filter((list) => list.length > 1)
    .reduce((sum, list) => sum + (list.length - 1) / list.length * spreadOf(list), 0);
}
/** The board's own test of a pair, if there is one: [first, second, first - second, half of the interval, p after Holm]. */
function testedPair(group, column, one, other) {
  const pair = group.pairs?.[column.key]?.find(([a, b]) => (a === one.index && b === other.index)
    || (a === other.index && b === one.index));
  return pair ? { half: pair[3], p: pair[4] } : null;
}
/**
 * `other` minus `one` in a column: {difference, lo, hi, p}. `lo` and `hi` are null if the rows share no test items; `p` (after
 * correction for all pairs of the column) is null if the board did not test the pair.
 */
function difference(group, column, one, other) {
  const mid = other.cells[column.key].value - one.cells[column.key].value;
  const tested = testedPair(group, column, one, other);
  const half = tested?.half ?? halfFromDraws(group, column, one, other);
  if (!Number.isFinite(half)) return { difference: mid, lo: null, hi: null, p: null };
  return { difference: mid, lo: mid - half, hi: mid + half, p: tested?.p ?? null };
}
function halfFromDraws(group, column, one, other) {
  const draws = drawsOf(group, column);
  const [first, second] = [draws?.rows[one.index], draws?.rows[other.index]];
  if (!first || !second || first.steps.length !== second.steps.length) return NaN;
  const from = unpacked(first);
  return draws.quantile * Math.sqrt(varianceOf(unpacked(second).map((value, index) => value - from[index]), draws));
}
/** "better", "worse", "unsure", or "unknown" if there are no intervals. */
function verdict(column, found, one, other) {
  const better = (found.difference > 0) === column.higher ? "better" : "worse";
  if (present(found.lo)) return found.lo <= 0 && found.hi >= 0 ? "unsure" : better;
  if (!hasInterval(one) || !hasInterval(other)) return "unknown";
  return one.lo <= other.hi && other.lo <= one.hi ? "unsure" : better;
}
