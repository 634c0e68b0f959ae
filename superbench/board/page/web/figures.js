// SVG figures at the size of their container: drawn when they become visible, drawn again when the width changes.

const awaiting = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
    awaiting.unobserve(target);
    target.seen = true;
    paint(target);
  }
}, { rootMargin: "200px" });
const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) if (target.seen && target.clientWidth && target.clientWidth !== target.drawnAt) paint(target);
});
function paint(host) {
  if (!host.clientWidth) return;
  host.drawnAt = host.clientWidth;
  fill(host, host.figure(host.clientWidth));
}
/** Fills `host` with the result of `figure(width)`, now or when it becomes visible. */
function figureIn(host, figure) {
  host.figure = figure;
  if (host.seen) return paint(host);
  awaiting.observe(host);
  widths.observe(host);
}
/** Before printing, draw all figures. */
window.addEventListener("beforeprint", () => {
  for (const host of document.querySelectorAll(".figure")) if (host.figure && !host.hidden) paint(host);
});
const svg = (width, height, label, ...children) =>
  draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, ...children);
const clipped = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** Marks that can be distinguished without colour. */
function mark(shape, x, y, size, attributes, ...children) {
  const third = size / 3;
  const paths = {
    circle: `M${x - size} ${y}a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0Z`,
    square: `M${x - size} ${y - size}h${2 * size}v${2 * size}h${-2 * size}Z`,
    diamond: `M${x} ${y - 1.4 * size}L${x + 1.4 * size} ${y}L${x} ${y + 1.4 * size}L${x - 1.4 * size} ${y}Z`,
    triangle: `M${x} ${y - 1.3 * size}L${x + 1.2 * size} ${y + size}L${x - 1.2 * size} ${y + size}Z`,
    inverted: `M${x} ${y + 1.3 * size}L${x + 1.2 * size} ${y - size}L${x - 1.2 * size} ${y - size}Z`,
    cross: `M${x - size} ${y - third}h${2 * third}v${-2 * third}h${2 * third}v${2 * third}h${2 * third}v${2 * third}h${-2 * third}`
      + `v${2 * third}h${-2 * third}v${-2 * third}h${-2 * third}Z`,
  };
  return draw("path", { d: paths[shape], ...attributes }, ...children);
}
const SHAPES = ["circle", "square", "diamond", "triangle", "inverted", "cross"];
const DASHES = [null, "7 4", "2 3", "9 3 2 3", "4 2", "12 4"];

/** Axes, grid and labels of a plot; `x` and `y` are {at, ticks, text, title}. */
function frame(width, height, margin, x, y) {
  const [left, right, top, bottom] = [margin.left, width - margin.right, margin.top, height - margin.bottom];
  return draw("g", {}, ...y.ticks.flatMap((tick) => [draw("line", { class: "grid", x1: left, x2: right, y1: y.at(tick), y2: y.at(tick) }),
      draw("text", { x: left - 8, y: y.at(tick) + 4, "text-anchor": "end" }, y.text(tick))]),
    ...x.ticks.flatMap((tick) => [draw("line", { class: "grid", x1: x.at(tick), x2: x.at(tick), y1: top, y2: bottom }),
      draw("text", { x: x.at(tick), y: bottom + 17, "text-anchor": "middle" }, x.text(tick))]),
    draw("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
    draw("text", { class: "title", x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, x.title),
    draw("text", { class: "title", x: left - 8, y: top - 12, "text-anchor": "start" }, y.title));
}

/** A heat map of weights that add up to one: `lines` are {name, weights, href}. */
function heatMap(width, lines, label, first = "layer") {
  const layers = Math.max(...lines.map(({ weights }) => weights.length));
  const most = Math.max(...lines.flatMap(({ weights }) => weights));
  const left = Math.max(50, Math.min(width * 0.34, 14 + 7 * Math.max(...lines.map(({ name }) => Math.min(name.length, 26)))));
  const [cell, height, top] = [Math.min(120, (width - left) / layers), 28, 26];
  const letters = Math.floor((left - 12) / 7);
  const every = Math.ceil(26 / cell);
  const box = (line, place, layer) => {
    const [weight, x, y] = [line.weights[layer], left + layer * cell, top + place * height];
    const strong = weight / most;
    return draw("g", {}, draw("rect", { class: "heat", x: x + 1, y: y + 1, width: Math.max(1, cell - 2), height: height - 2, rx: 3,
      "fill-opacity": (0.04 + 0.9 * strong).toFixed(3) },
        draw("title", {}, `${line.name}, ${first} ${layer}: ${number(weight, 3)}`)),
      cell > 38 ? draw("text", { class: strong > 0.7 ? "on" : "off", x: x + cell / 2, y: y + height / 2 + 4, "text-anchor": "middle" },
        number(weight, 2)) : null);
  };
  const bottom = top + lines.length * height;
  return svg(width, bottom + 6, label,
    draw("text", { x: left - 8, y: 16, "text-anchor": "end" }, first),
    ...[...Array(layers).keys()].filter((layer) => layer % every === 0).map((layer) => draw("text", { x: left + (layer + 0.5) * cell, y: 16,
      "text-anchor": "middle" }, layer)),
    ...lines.flatMap((line, place) => [draw("text", { class: "name", x: left - 8, y: top + place * height + height / 2 + 4,
      "text-anchor": "end" }, clipped(line.name, letters), draw("title", {}, line.name)),
      ...line.weights.map((_, layer) => box(line, place, layer))]));
}
