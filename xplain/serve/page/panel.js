// One explanation: what is asked, the map, what can be done with it.

import * as ask from "./ask.js";
import { classes, fill, sliders } from "./controls.js";
import { flat, limitOf, paint, scale } from "./draw.js";
import { HINT, boxed, changed, cornered, follow, round, valued } from "./hand.js";
import { fitting, offer, read } from "./options.js";
import { button, draw, mark, next, partsOf, said, without } from "./parts.js";

const DEAR = 64; // evaluations from which on progress is worth showing

export class Panel {
  constructor(page, told = {}) {
    this.page = page;
    this.root = document.getElementById("panel").content.firstElementChild.cloneNode(true);
    this.at = (name) => this.root.querySelector(`.${name}`);
    this.view = {};
    this.target = told.target ?? null;
    fill(this.at("model"), page.models.map((one) => one.name), told.model);
    fill(this.at("method"), this.methods(), told.method ?? this.model.usual);
    this.at("options").value = told.options ?? "";
    sliders(this.at, this.view, told, () => {
      this.paint();
      this.drawParts();
      page.remember();
    });
    this.at("model").addEventListener("change", () => {
      const method = this.at("method").value;
      fill(this.at("method"), this.methods(), this.methods().includes(method) ? method : this.model.usual);
      this.layers();
      this.target = null;
      page.suit();
      this.fitOptions();
      this.again();
    });
    this.at("method").addEventListener("change", () => {
      this.fitOptions();
      this.again();
    });
    this.at("options").addEventListener("change", () => this.again());
    this.at("cancel").addEventListener("click", () => this.stop());
    this.at("inside").addEventListener("toggle", () => this.inside());
    this.at("layer").addEventListener("change", () => this.inside());
    this.at("unit").addEventListener("submit", (event) => {
      event.preventDefault();
      this.target = `${this.at("layer").value}[${Number(this.at("channel").value)}]`;
      this.again();
    });
    this.layers();
    offer(this.at("options"), this.entry);
    this.hand = follow(this.at("map"), {
      shape: () => this.view.map?.shape ?? null,
      read: (cell) => { this.at("probe").textContent = valued(this.view, cell, this.one.unit); },
      box: (found) => {
        this.view.box = found;
        this.paint();
      },
      corner: (cell) => { this.at("hidden-box").textContent = cornered(cell); },
      hide: (found) => this.hideBox(found),
    });
    this.at("parts").addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (event.key === "Escape") this.hideParts(new Set());
      if (!step || !this.parts) return;
      event.preventDefault();
      const at = this.part === null ? next(this.elements, 0, -this.parts.length) : next(this.elements, this.part, step);
      button(this.elements[at]).focus();
    });
    this.at("map").classList.add("empty");
    this.part = this.parts = null;
    this.gone = new Set();
  }

  get model() { return this.page.models.find((one) => one.name === this.at("model").value); }
  methods() { return this.model.methods.map((one) => one.name); }

  get entry() { return this.model.methods.find((one) => one.name === this.at("method").value); }

  fitOptions() {
    const input = this.at("options");
    input.value = fitting(input.value, this.entry);
    offer(input, this.entry);
  }

  layers() {
    const names = this.model.layers;
    this.at("layer").replaceChildren(...names.map((one) => new Option(one, one)));
    this.at("layer").value = names.at(-1) ?? "";
    this.at("inside").hidden = !names.length;
  }

  async inside() {
    if (!this.at("inside").open || !this.page.item || !this.at("layer").value) return;
    const layer = this.at("layer").value, image = this.at("channels");
    try {
      const blob = await ask.drawing("api/activations", { model: this.model.name, instances: [this.page.item], layer });
      URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(blob);
      image.alt = `The most active channels of ${layer}`;
      image.hidden = false;
    } catch (error) {
      this.page.fail(error);
    }
  }

  told() {
    return {
      model: this.at("model").value,
      method: this.at("method").value,
      options: this.at("options").value,
      target: this.target,
      opacity: this.at("opacity").value,
      threshold: this.at("threshold").value,
    };
  }

  again() {
    this.page.remember();
    if (this.page.item) this.explain();
  }

  stop() {
    this.job && ask.drop(this.job).catch(() => {});
    this.abort?.abort();
    this.busy(false);
  }

  busy(on) {
    this.at("progress").hidden = this.at("cancel").hidden = !on;
    this.root.setAttribute("aria-busy", String(on));
  }

  async explain() {
    this.stop();
    this.job = null;
    const abort = (this.abort = new AbortController());
    const { method, model } = this.told();
    this.at("summary").textContent = this.entry?.summary ?? "";
    this.view.box = null;
    this.hand.forget();
    this.gone = new Set();
    this.at("hidden-box").textContent = "";
    try {
      const asked = { model, method, options: read(this.at("options").value), target: this.target, instances: [this.page.item] };
      const how = { encoding: "base64", seen: true };
      const job = await ask.post("api/jobs", { ...asked, ...how, preview: true }, abort.signal);
      await this.watch(job, abort.signal);
      this.page.say(`${method}: ${job.plan.words}`);
    } catch (error) {
      if (error.name !== "AbortError") {
        this.blank();
        this.page.fail(error);
      }
    } finally {
      if (abort === this.abort) this.busy(false);
    }
  }

  // What is shown is of another question: away with it.
  blank() {
    Object.assign(this.view, { map: null, error: null, picture: null });
    this.parts = this.part = null;
    const canvas = this.at("map");
    canvas.width = canvas.height = 1;
    canvas.classList.add("empty");
    canvas.setAttribute("aria-label", "No explanation");
    canvas.hidden = false;
    for (const name of ["parts", "scale", "classes", "warnings"]) this.at(name).replaceChildren();
    for (const name of ["probe", "hidden-box"]) this.at(name).textContent = "";
    this.at("aim").hidden = true;
    this.root.querySelector(".facts pre").textContent = "";
  }

  async watch(job, signal) {
    this.job = job.id;
    this.busy(job.plan.queries + job.plan.sweeps > DEAR);
    const bar = this.at("progress");
    for await (const [kind, data] of ask.events(job.id, signal)) {
      if (kind === "progress") {
        bar.max = data.of;
        bar.value = data.done;
        this.page.say(`${data.done} of ${data.of} evaluations`);
      } else if (kind === "preview") {
        this.show(data);
      } else if (data.answer) {
        this.show(data.answer);
      } else if (data.error) {
        throw new Error(data.error.message);
      }
    }
    this.job = null;
    ask.drop(job.id).catch(() => {}); // the answer is here: the server need not keep it
  }

  async show(answer) {
    const { explanations, predictions } = answer.items[0], one = explanations[0];
    this.one = one;
    const values = ask.array(one.values), error = one.error && ask.array(one.error);
    const table = this.page.colours[one.signed ? "signed" : "unsigned"];
    const limit = limitOf(values.data);
    const pictured = values.shape.length >= 2 && !one.words && !one.columns;
    this.parts = pictured ? null : partsOf(one, values, error, this.page.item);
    this.part = null;
    this.at("probe").textContent = "\u00a0";
    Object.assign(this.view, { map: null, error: null, limit, signed: one.signed, table, values });
    if (one.seen) {
      const seen = await createImageBitmap(new Blob([Uint8Array.from(atob(one.seen), (c) => c.charCodeAt(0))]));
      this.view.picture = seen;
    }
    if (pictured) {
      Object.assign(this.view, { map: flat(values), error: flat(error) });
      this.at("map").setAttribute("aria-label", this.words(one));
    }
    scale(this.at("scale"), table, limit, one.signed, one.unit);
    this.at("map").hidden = !pictured && !this.view.picture;
    this.at("opacity").parentElement.hidden = !pictured;
    this.at("parts").hidden = pictured;
    this.at("parts").setAttribute("aria-label", `${this.why(one)}. Arrow keys read values; Enter hides one, Escape shows all.`);
    this.drawParts();
    if (!this.gone.size && !this.view.box) this.at("hidden-box").textContent = this.hint();
    this.at("aim").hidden = one.label !== null;
    this.at("aim").textContent = `Explained: ${one.target}. Choose a class to explain that.`;
    this.classes(predictions, one);
    const told = answer.partial ? [`So far: ${answer.partial}.`, ...one.warnings] : one.warnings;
    this.at("warnings").replaceChildren(...told.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    const { values: _, error: __, seen: ___, ...facts } = one;
    this.root.querySelector(".facts pre").textContent = JSON.stringify(facts, null, 1);
    this.paint();
    this.inside();
  }

  why(one) {
    return `${one.method} of ${one.target}, in ${one.unit}`;
  }

  words(one) {
    return `Map: ${this.why(one)}. Arrow keys read values; drag to hide a rectangle, or press Enter at two of its corners.`;
  }

  hint() {
    if (!this.parts) return this.model.pictures ? HINT : "";
    return `Click ${this.one.words ? "words" : this.one.columns ? "columns" : "numbers"} to hide something and see what the score does.`;
  }

  paint() {
    if (this.view.map || this.view.picture) paint(this.at("map"), this.view);
  }

  classes(predictions, one) {
    const shares = predictions.every((p) => p.probability !== null);
    const rows = predictions.map((p) => ({ label: p.label, share: shares ? p.probability : null, score: p.score, chosen: p.class === one.label }));
    classes(this.at("classes"), rows, (place) => {
      this.target = predictions[place].class;
      this.again();
    });
  }

  drawParts() {
    if (!this.parts) return;
    const place = this.at("parts");
    this.elements = draw(place, this.one, this.parts, this.view, (k) => this.readPart(k), (k) => this.toggle(k));
    mark(this.elements, this.gone, this.part);
    if (this.part !== null) this.readPart(Math.min(this.part, this.parts.length - 1));
  }

  readPart(k) {
    this.part = k;
    mark(this.elements, this.gone, k);
    this.at("probe").textContent = said(this.parts[k], this.one.unit);
  }

  toggle(k) {
    const gone = new Set(this.gone);
    if (!gone.delete(k)) gone.add(k);
    this.hideParts(gone);
  }

  hideParts(gone) {
    this.gone = gone;
    mark(this.elements, gone, this.part);
    if (gone.size) this.hide({ parts: [...gone] }, without(this.parts, gone, (part) => this.becomes(part)));
    else this.at("hidden-box").textContent = this.hint();
  }

  // What stands in a hidden part's place, where that is known and is something.
  becomes({ name }) {
    if (this.one.words) return null;
    return this.one.columns ? this.model.columns.find((one) => one.name === name)?.typical ?? null : 0;
  }

  // ---------------------------------------------------------------- reading and hiding by hand

  hideBox(found) {
    this.view.box = found;
    this.paint();
    if (found) this.hide({ box: found }, boxed(found));
    else this.at("hidden-box").textContent = this.hint();
  }

  async hide(what, words) {
    const { model } = this.told(), of = this.one.label, { gone } = this, { box: found } = this.view;
    try {
      const asked = { model, instances: [this.page.item], ...what, ...(of === null ? {} : { class: of }) };
      const { before, after, name } = await ask.post("api/hide", asked);
      if (gone !== this.gone || found !== this.view.box) return; // something else is hidden by now
      this.at("hidden-box").textContent = changed(words, name, before.score, after.score, after.best);
    } catch (error) {
      this.page.fail(error);
    }
  }
}
