// What a panel is steered by, with a server or without one: lists to choose from, sliders, the best classes.

import { round } from "./hand.js";

export function fill(select, values, chosen) {
  select.replaceChildren(...values.map((one) => new Option(one, one, false, one === chosen)));
}

// Opacity and threshold: as they were told, else as they stand; `view` holds them from 0 to 1.
export function sliders(at, view, told, changed) {
  for (const name of ["opacity", "threshold"]) {
    const slider = at(name);
    if (told[name] !== undefined) slider.value = told[name];
    view[name] = slider.value / 100;
    slider.addEventListener("input", () => {
      view[name] = slider.value / 100;
      changed();
    });
  }
}

// The best classes, each a button that asks why: rows of label, share (or null), score, and whether it is explained.
export function classes(place, rows, choose) {
  place.replaceChildren(...rows.map(({ label, share, score, chosen }, k) => {
    const button = document.createElement("button"), row = document.createElement("li");
    button.type = "button";
    button.setAttribute("aria-pressed", String(chosen));
    for (const text of [label, share === null ? round(score) : `${(100 * share).toFixed(1)} %`]) {
      button.append(Object.assign(document.createElement("span"), { textContent: text }));
    }
    if (share !== null) button.append(Object.assign(document.createElement("meter"), { value: share, ariaHidden: "true" }));
    button.addEventListener("click", () => choose(k));
    row.append(button);
    return row;
  }));
}

// Another method than the first panel's, to compare with to begin with.
export function another(methods, first) {
  return ["saliency", "kernel-shap", "ablation"].find((one) => one !== first && methods.includes(one)) ?? methods.find((one) => one !== first) ?? first;
}

// One panel, or two side by side, each with a name of its own for who listens.
export function lay(panels, place, compare) {
  place.replaceChildren(...panels.map((one) => one.root));
  place.classList.toggle("two", panels.length > 1);
  panels.forEach(({ root }, k) => root.setAttribute("aria-label", panels.length > 1 ? ["First explanation", "Second explanation"][k] : "Explanation"));
  compare.setAttribute("aria-pressed", String(panels.length > 1));
}

// A picture to choose by its name.
export function offered(name, source, choose) {
  const button = document.createElement("button"), image = new Image();
  image.alt = name;
  image.src = source;
  button.type = "button";
  button.title = name;
  button.append(image);
  button.addEventListener("click", choose);
  return button;
}
