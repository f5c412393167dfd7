// What is explained, as each kind of model takes it: a picture, a text, a row of a table, a tensor.

const at = (id) => document.getElementById(id);
const KINDS = ["pictures", "texts", "rows", "tensors"];
const MANY = 200; // categories from which on a list to choose from is no help

let columns = [];

// Show the way in for this model's items.
export function show(model) {
  for (const kind of KINDS) at(kind).hidden = model.takes !== kind;
  if (model.takes !== "rows") return;
  columns = model.columns;
  at("fields").replaceChildren(...columns.map(field));
}

function field(column, place) {
  const label = document.createElement("label"), input = entry(column);
  label.append(Object.assign(document.createElement("span"), { textContent: column.name }), input);
  input.id = `column-${place}`;
  fill(input, column.typical);
  return label;
}

function entry({ kind, values, name }) {
  const chosen = kind === "switch" ? [true, false] : kind === "category" && values.length <= MANY ? values : null;
  if (chosen) {
    const select = document.createElement("select");
    select.append(new Option("", ""), ...chosen.map((one) => new Option(String(one), JSON.stringify(one))));
    return select;
  }
  const input = document.createElement("input");
  input.autocomplete = "off";
  if (kind === "number") Object.assign(input, { type: "number", step: "any" });
  input.title = name;
  return input;
}

function fill(input, value) {
  if (value === null || value === undefined) input.value = "";
  else input.value = input.tagName === "SELECT" ? JSON.stringify(value) : String(value);
}

// The row as it stands in the fields: numbers as numbers, categories as what they are, empty ones as gaps.
export function row() {
  return Object.fromEntries(columns.map(({ name, kind }, place) => {
    const input = at(`column-${place}`), text = input.value;
    if (text === "") return [name, null];
    if (input.tagName === "SELECT") return [name, JSON.parse(text)];
    const number = kind === "number" || (kind === "" && Number.isFinite(Number(text)));
    return [name, number ? Number(text) : text];
  }));
}

export const text = () => at("text").value;

export function tensor() {
  try {
    return JSON.parse(at("tensor").value);
  } catch {
    throw new Error("A tensor is written as nested lists of numbers, such as [[0.5, 1], [2, 3]].");
  }
}

// Put an item back into its fields, as an address has it.
export function restore(model, item) {
  if (model.takes === "texts" && typeof item === "string") at("text").value = item;
  else if (model.takes === "tensors") at("tensor").value = JSON.stringify(item);
  else if (model.takes === "rows" && item && typeof item === "object") {
    columns.forEach(({ name }, place) => fill(at(`column-${place}`), item[name]));
  }
}
