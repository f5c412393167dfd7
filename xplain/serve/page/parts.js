// What has no picture: the words of a text, the columns of a row, the numbers of a vector; each with its value, and a
// button that hides it.

import { colour, ink } from "./draw.js";
import { round } from "./hand.js";

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

// Draw the parts into their place; `read` is told which of them a person looks at, `toggle` which is pressed.
export function draw(place, one, parts, view, read, toggle) {
  const { table, limit, signed, threshold } = view;
  const dress = (element, part) => {
    const shown = Number.isFinite(part.value) && (limit === 0 || Math.abs(part.value) / limit >= threshold);
    const paint = shown ? colour(table, part.value, limit, signed) : null;
    element.style.background = paint ? `rgb(${paint.join(" ")})` : "";
    element.style.color = paint ? ink(paint) : "";
    element.classList.toggle("unsure", unsure(part));
  };
  const elements = one.words ? words(place, parts, dress) : rows(place, parts, dress);
  elements.forEach((element, k) => {
    element.addEventListener("pointerenter", () => read(k));
    element.addEventListener("click", () => {
      button(element).focus(); // a row beside its button too, so that the keyboard goes on from there
      toggle(k);
    });
    button(element).addEventListener("focus", () => read(k));
  });
  return elements;
}

// The button of a part: a word is one, a row holds one.
export const button = (element) => (element.tagName === "BUTTON" ? element : element.querySelector("button"));

// Show which parts are hidden, and let Tab lead to one of them: the one that is read, or the first.
export function mark(elements, hidden, read) {
  const lead = read ?? drawn(elements)[0];
  elements.forEach((element, k) => {
    element.classList.toggle("hidden-part", hidden.has(k));
    element.classList.toggle("read", k === read);
    button(element).setAttribute("aria-pressed", String(hidden.has(k)));
    button(element).tabIndex = k === lead ? 0 : -1;
  });
}

// What is hidden, in words: the first few by name, and for columns and numbers what stands in their place.
export function without(parts, hidden, becomes) {
  const some = [...hidden].sort((a, b) => a - b).map((k) => parts[k]), shown = some.slice(0, 4);
  const places = some.map(becomes), known = places.every((one) => one !== null);
  const names = shown.map(({ name }, k) => (known ? `${name} at ${Number.isFinite(places[k]) ? round(places[k]) : places[k]}` : `\u201c${name}\u201d`));
  if (some.length > shown.length) names.push(`${some.length - shown.length} more`);
  const last = names.pop();
  return `${known ? "With" : "Without"} ${names.length ? `${names.join(", ")} and ` : ""}${last}`;
}

function hider(part) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = part.name;
  element.setAttribute("aria-label", `Hide ${part.name}${part.held && ` = ${part.held}`}`);
  return element;
}

function words(place, parts, dress) {
  const elements = parts.map((part) => {
    const element = hider(part);
    dress(element, part);
    return element;
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
    row.insertCell().append(hider(part));
    for (const text of [part.held, round(part.value)]) row.insertCell().textContent = text;
    row.lastElementChild.className = "number";
    dress(row.lastElementChild, part);
  }
  place.replaceChildren(grid);
  return elements;
}

// Where the arrow keys lead from part `k`: words go on as they are read, rows down as they are drawn.
export function next(elements, k, step) {
  const order = drawn(elements);
  return order[Math.min(order.length - 1, Math.max(0, order.indexOf(k) + step))];
}

const drawn = (elements) => Array.from(elements.keys())
  .sort((a, b) => (elements[a].compareDocumentPosition(elements[b]) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1));
