// One explanation of the page without a server: which model and method, the map, a layer's channels beside it.

import { classes, fill, sliders } from "./controls.js";
import { limitOf, paint, scale } from "./draw.js";
import { HINT, boxed, changed, cornered, follow, valued } from "./hand.js";
import { ready, run } from "./runs.js";
import { channelOf, seen, tensor, tileAt, tiles, without } from "./see.js";

const best = (scores) => Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]);
const whole = (value) => (Number.isInteger(value) && value >= 0 ? value : null);
const GREYS = Array.from({ length: 256 }, (_, k) => [k, k, k]);

export class Shown {
  constructor(page, told = {}) {
    this.page = page;
    this.root = document.getElementById("panel").content.firstElementChild.cloneNode(true);
    this.at = (name) => this.root.querySelector(`.${name}`);
    this.view = {};
    this.asked = 0;
    this.target = whole(told.target);
    this.channel = whole(told.channel);
    fill(this.at("model"), [...new Set(page.offers.map((one) => one.name))], told.model);
    fill(this.at("method"), this.methods(), told.method);
    this.at("model").parentElement.hidden = this.at("model").length < 2;
    sliders(this.at, this.view, told, () => {
      this.redraw();
      page.remember();
    });
    this.at("model").addEventListener("change", () => {
      fill(this.at("method"), this.methods(), this.at("method").value);
      this.target = null;
      this.turn();
    });
    this.at("method").addEventListener("change", () => this.turn());
    this.at("target").addEventListener("change", () => this.aim(whole(Number(this.at("target").value))));
    this.at("unit").addEventListener("submit", (event) => {
      event.preventDefault();
      this.look(this.at("channel").value === "" ? null : Number(this.at("channel").value));
    });
    this.at("back").addEventListener("click", () => {
      this.look(null);
      this.at("channel").focus();
    });
    this.at("tiles").addEventListener("click", (event) => {
      const channel = this.tiles && tileAt(event, this.tiles);
      if (channel !== null && channel !== undefined) this.look(channel);
    });
    this.hand = follow(this.at("map"), {
      shape: () => this.view.map?.shape ?? null,
      read: (cell) => { this.at("probe").textContent = valued(this.view, cell, this.unit); },
      box: (found) => {
        this.view.box = found;
        this.redraw();
      },
      corner: (cell) => { this.at("hidden-box").textContent = cornered(cell); },
      hide: (found) => this.hide(found).catch((error) => page.fail(error)),
    });
    this.suit();
  }

  get about() {
    return this.page.offers.find((one) => one.name === this.at("model").value && one.method === this.at("method").value);
  }

  methods() { return this.page.offers.filter((one) => one.name === this.at("model").value).map((one) => one.method); }

  told() {
    const { target, channel } = this;
    return { model: this.at("model").value, method: this.at("method").value, target, channel, opacity: this.at("opacity").value, threshold: this.at("threshold").value };
  }

  called(k) { return this.about.labels[k] ?? `class ${k}`; }

  // What this model and method offer; what was told of another is forgotten.
  suit() {
    const { about } = this, { classes: count, channels } = about;
    if (this.target !== null && count && this.target >= count) this.target = null;
    if (this.channel !== null && !(this.channel < channels)) this.channel = null;
    const all = Array.from({ length: count }, (_, k) => new Option(this.called(k), k));
    this.at("target").replaceChildren(new Option("the best", -1), ...all);
    this.at("target").value = this.target ?? -1;
    this.at("layer").hidden = !channels;
    this.at("layer-title").textContent = about.layer ? `Most active channels of ${about.layer.split(";")[0]}` : "";
    this.at("channel").max = channels - 1;
    this.at("channel").value = this.channel ?? "";
    this.at("summary").textContent = `Opening ${about.source} …`;
    const mine = ++this.asked;
    this.open = ready(about).then((how) => {
      if (mine === this.asked) this.at("summary").textContent = `${about.source}, ${about.method}, ${about.unit}. ${how}. The browser resizes pictures, so last digits differ from those of a server.`;
    });
    this.open.catch((error) => this.page.fail(error));
  }

  turn() {
    this.suit();
    this.page.remember();
    this.again();
  }

  aim(target) {
    this.target = target;
    this.at("target").value = target ?? -1;
    this.page.remember();
    this.again();
  }

  // Lay a channel over the picture in the explanation's place, or the explanation again.
  look(channel) {
    this.channel = channel;
    this.at("channel").value = channel ?? "";
    this.page.remember();
    if (this.found) this.lay();
  }

  again() {
    if (this.page.still) this.explain(...this.page.still).catch((error) => this.page.fail(error));
  }

  async explain(source, width, height) {
    const { about } = this, still = seen(source, width, height, about), given = tensor(still, about);
    const mine = this.latest = Symbol("the latest question");
    const out = await run(about, given, this.target ?? -1);
    if (mine !== this.latest) return; // something else is asked by now
    const map = out[about.outputs.attribution], [rows, columns] = map.dims.slice(-2);
    const values = { data: map.data.subarray(0, rows * columns), shape: [rows, columns] };
    const layer = about.channels ? out[about.outputs.layer] : null;
    this.found = { about, given, values, layer, scores: Array.from(out[about.outputs.scores].data) };
    Object.assign(this.view, { picture: still, box: null });
    this.hand.forget();
    this.at("hidden-box").textContent = HINT;
    this.rank();
    this.lay();
  }

  // Over the picture lies the explanation, or one channel.
  lay() {
    const { about, values, layer } = this.found, { channel } = this;
    const map = channel === null ? values : channelOf(layer, channel, values.shape);
    const limit = limitOf(map.data), signed = channel === null && about.signed;
    const table = channel === null ? about.colours : GREYS;
    this.unit = channel === null ? about.unit : "activation";
    Object.assign(this.view, { map, limit, signed, table });
    const name = channel === null ? `${about.method} of ${this.called(this.explained)}` : `channel ${channel} of ${about.layer.split(";")[0]}`;
    this.at("map").setAttribute("aria-label", `Map: ${name}, in ${this.unit}. Arrow keys read values; drag to hide a rectangle, or press Enter at two of its corners.`);
    const told = [...(channel === null ? [] : [`Shown: ${name}`]), ...(limit > 0 ? [] : ["It is 0 everywhere"])];
    this.at("probe").textContent = told.join(". ") || "\u00a0";
    this.at("back").hidden = channel === null;
    scale(this.at("scale"), table, limit, signed, this.unit);
    if (layer) {
      this.tiles = tiles(this.at("tiles"), layer, channel);
      this.at("tiles").setAttribute("aria-label", `The ${this.tiles.chosen.length} most active channels of ${layer.dims[1]}: ${this.tiles.chosen.join(", ")}`);
    }
    this.redraw();
  }

  redraw() {
    if (this.view.map) paint(this.at("map"), this.view);
  }

  rank() {
    const { about, scores } = this.found, order = best(scores).slice(0, 5), top = scores[order[0]];
    let share = () => null;
    if (about.kind === "probabilities") share = (k) => scores[k];
    if (about.link === "softmax") {
      const total = scores.reduce((sum, one) => sum + Math.exp(one - top), 0);
      share = (k) => Math.exp(scores[k] - top) / total;
    }
    if (about.link === "sigmoid") share = (k) => 1 / (1 + Math.exp(-scores[k]));
    this.explained = this.target ?? order[0];
    const shown = order.includes(this.explained) ? order : [...order, this.explained];
    const rows = shown.map((k) => ({ label: this.called(k), share: share(k), score: scores[k], chosen: k === this.explained }));
    classes(this.at("classes"), rows, (place) => this.aim(shown[place] === this.target ? null : shown[place]));
  }

  // What the model says with a rectangle of the picture hidden; the camera's picture stands still meanwhile.
  async hide(box) {
    this.page.stand();
    this.view.box = box;
    this.redraw();
    this.at("hidden-box").textContent = box ? "" : HINT;
    if (!box) return;
    const { found, explained } = this, { about, given, scores } = found, across = about.size[0] / this.view.map.shape[0];
    const out = await run(about, without(given, box.map((edge) => Math.round(edge * across)), about));
    const there = out[about.outputs.scores].data;
    if (this.found !== found || this.view.box !== box) return; // something else is shown, or hidden, by now
    this.at("hidden-box").textContent = changed(boxed(box), this.called(explained), scores[explained], there[explained], this.called(best(there)[0]));
  }
}
