// Is the difference of two rows real? Their scores under the same resamples of the test items, subtracted one from the other.

/** 16-bit steps between the least and the greatest; the last number stands for "no value". */
function unpacked({ lo, hi, steps }) {
  const bytes = Uint8Array.from(atob(steps), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 2 }, (_, index) => {
    const step = view.getUint16(2 * index, true);
    return step === 65535 ? NaN : lo + (hi - lo) * step / 65534;
  });
}
/** The value below which a share of the sorted numbers lies, between neighbours in proportion (as numpy's default). */
function quantile(sorted, share) {
  const place = (sorted.length - 1) * share;
  const low = Math.floor(place);
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}
const spreadOf = (values) => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
};
/** Half of the interval by leaving out one group at a time, within folds. */
function jackknifeHalf(values, folds, quantileOfT) {
  const variance = Object.values(Object.groupBy(values.map((value, index) => ({ value, fold: folds[index] })), ({ fold }) => fold))
    .map((list) => list.map(({ value }) => value).filter(Number.isFinite)).filter((list) => list.length > 1)
    .reduce((sum, list) => sum + (list.length - 1) / list.length * spreadOf(list), 0);
  return quantileOfT * Math.sqrt(variance);
}
/**
 * `other` minus `one` in a column: {difference, lo, hi, paired}. `paired` is false, and the interval absent, where the rows share
 * no test items. A thousand draws give percentiles; fewer, a normal interval.
 */
function difference(group, column, one, other) {
  const [a, b] = [one.cells[column.key], other.cells[column.key]];
  const found = { difference: b.value - a.value, lo: null, hi: null, paired: false };
  const draws = drawsOf(group, column);
  const [first, second] = [draws?.rows[one.index], draws?.rows[other.index]];
  if (!first || !second || first.steps.length !== second.steps.length) return found;
  const [from, to] = [unpacked(first), unpacked(second)];
  const differences = to.map((value, index) => value - from[index]);
  const finite = differences.filter(Number.isFinite);
  if (finite.length < 2) return found;
  if (!draws.folds.length && differences.length >= 1000) {
    finite.sort((x, y) => x - y);
    return { ...found, paired: true, lo: quantile(finite, 0.025), hi: quantile(finite, 0.975) };
  }
  const half = draws.folds.length ? jackknifeHalf(differences, draws.folds, draws.quantile)
    : draws.quantile * Math.sqrt(spreadOf(finite) / (finite.length - 1));
  return { ...found, paired: true, lo: found.difference - half, hi: found.difference + half };
}
/** "better", "worse", "unsure", or "unknown" where there is nothing to judge by. */
function verdict(column, found, one, other) {
  if (found.paired) {
    if (found.lo <= 0 && found.hi >= 0) return "unsure";
    return (found.difference > 0) === column.higher ? "better" : "worse";
  }
  if (!hasInterval(one) || !hasInterval(other)) return "unknown";
  if (one.lo <= other.hi && other.lo <= one.hi) return "unsure";
  return (found.difference > 0) === column.higher ? "better" : "worse";
}
