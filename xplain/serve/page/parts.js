// What has no picture: the words of a text, the columns of a row, the numbers of a vector; each with its value.

import { colour, ink } from "./draw.js";

const round = (value) => (Number.isFinite(value) ? Number(value.toPrecision(3)).toString() : "none");

// The parts of an explanation: what each is called, what it held, its value and its standard error.
export function partsOf(one, values, error, item) {
  const called = one.words ?? one.columns ?? Array.from(values.data, (_, k) => `number ${k}`);
  const held = one.words ? null : one.row ?? (Array.isArray(item) ? item.flat(Infinity) : null);
  return called.map((name, k) => ({
    name,
    held: held === null ? "" : String(held[k] ?? ""),
    value: values.data[k],
    error: error ? error.data[k] : null,
  }));
}

// One part in words: value, half of the 95 % interval, unit.
export function said(part, unit) {
  const spread = part.error === null ? "" : ` ± ${round(1.96 * part.error)}`;
  const sure = unsure(part) ? "; the 95 % interval contains zero" : "";
  return `${part.name}${part.held && ` = ${part.held}`}: ${round(part.value)}${spread} ${unit}${sure}`;
}

const unsure = ({ value, error }) => error !== null && Math.abs(value) < 1.96 * error;

// Draw the parts into their place; `read` is told which of them a person looks at.
export function draw(place, one, parts, view, read) {
  const { table, limit, signed, threshold } = view;
  const dress = (element, part) => {
    const shown = Number.isFinite(part.value) && (limit === 0 || Math.abs(part.value) / limit >= threshold);
    const paint = shown ? colour(table, part.value, limit, signed) : null;
    element.style.background = paint ? `rgb(${paint.join(" ")})` : "";
    element.style.color = paint ? ink(paint) : "";
    element.classList.toggle("unsure", unsure(part));
  };
  const elements = one.words ? words(place, parts, dress) : rows(place, parts, dress);
  elements.forEach((element, k) => element.addEventListener("pointerenter", () => read(k)));
  return elements;
}

function words(place, parts, dress) {
  const elements = parts.map((part) => {
    const span = document.createElement("span");
    span.textContent = part.name;
    dress(span, part);
    return span;
  });
  place.replaceChildren(...elements.flatMap((one) => [one, " "]));
  return elements;
}

// The largest first, as far as they count.
function rows(place, parts, dress) {
  const grid = document.createElement("table"), elements = [];
  const order = parts.map((_, k) => k).sort((a, b) => Math.abs(parts[b].value) - Math.abs(parts[a].value));
  for (const k of order) {
    const part = parts[k], row = (elements[k] = grid.insertRow());
    for (const text of [part.name, part.held, round(part.value)]) row.insertCell().textContent = text;
    row.lastElementChild.className = "number";
    dress(row.lastElementChild, part);
  }
  place.replaceChildren(grid);
  return elements;
}

// Where the arrow keys lead from part `k`: words go on as they are read, rows down as they are drawn.
export function next(elements, k, step) {
  const order = Array.from(elements.keys()).sort((a, b) => (elements[a].compareDocumentPosition(elements[b]) & 4 ? -1 : 1));
  return order[Math.min(order.length - 1, Math.max(0, order.indexOf(k) + step))];
}
