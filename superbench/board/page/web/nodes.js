// Creates nodes. Texts and attributes are always inserted as plain values; no markup is parsed.

const byId = (id) => document.getElementById(id);
const present = (value) => value !== null && value !== undefined;
function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (present(value) && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => present(child) && child !== false));
  return node;
}
const make = (tag, attributes = {}, ...children) => dress(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) =>
  dress(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const button = (text, onclick, attributes = {}) => make("button", { type: "button", onclick, ...attributes }, text);
const labelled = (text, node) => make("label", {}, make("span", {}, text), dress(node, { "aria-label": text }, []));
/** A name with line breaks allowed after `_`, `:` and `/`, which browsers do not allow by default. */
const breaking = (name) => make("span", {}, ...name.split(/(?<=[_:/])/).flatMap((part, place) => (place ? [make("wbr"), part] : [part])));
const fill = (node, ...children) => node.replaceChildren(...children.filter((child) => present(child) && child !== false));

/** A `select` of [value, text] pairs. */
function choice(id, pairs, value, onchange) {
  const node = make("select", { id, onchange: () => onchange(node.value) },
    ...pairs.map(([key, text]) => make("option", { value: key }, text)));
  node.value = value;
  return node;
}

/** A table that keys can scroll if it is wider than the screen. `label` names it; `heads` are [text, "left", "wide" or nothing]; false heads are left out. */
const plainTable = (label, kind, heads, body) => make("div", { class: "plain", tabindex: "0", role: "region", "aria-label": label }, make("table", { class: kind },
  make("thead", {}, make("tr", {}, ...heads.filter(Boolean).map(([text, side]) => make("th", { scope: "col", class: side ?? null }, text)))),
  body));
const rowHead = (...children) => make("th", { scope: "row", class: "left" }, ...children);
const cellOf = (side, ...children) => make("td", { class: side || null }, ...children);

/** Announces a text to screen readers. */
const say = (text) => { byId("said").textContent = text; };

/** Calls `each` for a list in slices, so that the page stays responsive; a new call with the same `owner` cancels the earlier one. */
const running = new WeakMap();
function slices(owner, list, size, each) {
  const turn = {};
  running.set(owner, turn);
  const later = window.requestIdleCallback ?? ((work) => setTimeout(work, 0));
  const step = (start) => {
    if (running.get(owner) !== turn) return;
    for (const item of list.slice(start, start + size)) each(item);
    if (start + size < list.length) later(() => step(start + size), { timeout: 250 });
  };
  step(0);
}
