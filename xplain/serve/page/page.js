// The page: an item, and one or two explanations of it. Its state is in the address, so that it can be sent to somebody.

import { recall, remember } from "./address.js";
import * as ask from "./ask.js";
import { another, lay, offered } from "./controls.js";
import * as items from "./items.js";
import { Panel } from "./panel.js";

const MOST = 2000; // letters of an item that an address can hold
const at = (id) => document.getElementById(id);

class Page {
  constructor() {
    this.models = [];
    this.panels = [];
    this.item = null;
  }

  say(text) {
    at("status").classList.remove("bad");
    at("status").textContent = text;
  }

  fail(error) {
    if (error.status === 401) at("token-form").hidden = false;
    at("status").classList.add("bad");
    at("status").textContent = error.message;
  }

  async start() {
    try {
      const told = await ask.models();
      this.models = told.models;
      this.colours = told.colours;
      at("token-form").hidden = true;
      const states = recall();
      this.panels = states.panels.map((one) => new Panel(this, this.models.some((m) => m.name === one.model) ? one : { ...one, model: undefined }));
      this.lay();
      this.suit();
      await this.offer();
      const waiting = this.models.filter((one) => !one.ready).map((one) => one.name);
      this.say(waiting.length ? `${waiting.join(", ")}: not ready yet` : `${this.models.length === 1 ? "One model" : `${this.models.length} models`} ready.`);
      if (states.example) await this.choose(states.example);
      else if (states.item !== undefined) {
        items.restore(this.panels[0].model, states.item);
        this.set(states.item);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  // The way in is that of the first panel's model; an item of another kind is forgotten.
  suit() {
    const { model } = this.panels[0];
    if (this.shown === model) return;
    if (this.shown && this.shown.takes !== model.takes) this.item = this.example = null;
    this.shown = model;
    items.show(model);
  }

  lay() { lay(this.panels, at("panels"), at("compare")); }

  async offer() {
    const { examples } = await ask.examples();
    at("examples").replaceChildren(...await Promise.all(examples.map(async (name) =>
      offered(name, URL.createObjectURL(await ask.example(name)), () => this.choose(name)))));
  }

  async choose(name) {
    this.example = name;
    await this.take(await ask.example(name), true);
  }

  async take(blob, example = false) {
    if (!example) this.example = null;
    this.set({ b64: ask.base64(await blob.arrayBuffer()) });
  }

  set(item) {
    const again = this.item !== null;
    this.item = item;
    for (const one of this.panels) {
      if (again) one.target = null; // of another item another class is predicted
      one.explain();
    }
    this.remember();
  }

  // ---------------------------------------------------------------- the address

  remember() {
    const short = this.shown.takes !== "pictures" && JSON.stringify(this.item ?? "").length <= MOST;
    const state = { panels: this.panels.map((one) => one.told()), example: this.example ?? undefined };
    if (short && this.item !== null) state.item = this.item;
    remember(state);
  }

  // ---------------------------------------------------------------- the camera

  async camera() {
    const video = at("video"), note = at("camera-note");
    if (!navigator.mediaDevices) {
      note.hidden = false;
      note.textContent = "The camera needs https, or a page from localhost.";
      return;
    }
    if (!this.stream) {
      try {
        this.stream = await navigator.mediaDevices.getUserMedia({ video: true });
      } catch (error) {
        note.hidden = false;
        note.textContent = `The camera cannot be used: ${error.message}`;
        return;
      }
      video.srcObject = this.stream;
      video.classList.remove("away");
      await video.play();
      at("camera").textContent = "Take this picture";
      return;
    }
    const still = document.createElement("canvas");
    still.width = video.videoWidth;
    still.height = video.videoHeight;
    still.getContext("2d").drawImage(video, 0, 0);
    await this.take(await new Promise((done) => still.toBlob(done, "image/png")));
  }

  wire() {
    const drop = at("drop");
    at("file").addEventListener("change", (event) => event.target.files[0] && this.take(event.target.files[0]));
    at("camera").addEventListener("click", () => this.camera().catch((error) => this.fail(error)));
    for (const kind of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", kind === "dragover");
        const file = kind === "drop" && event.dataTransfer.files[0];
        if (file) this.take(file);
      });
    }
    document.addEventListener("paste", (event) => {
      const file = event.clipboardData.files[0];
      if (file && this.shown?.takes === "pictures") this.take(file);
    });
    for (const [kind, read] of Object.entries({ texts: items.text, rows: items.row, tensors: items.tensor })) {
      at(kind).addEventListener("submit", (event) => {
        event.preventDefault();
        this.example = null;
        try {
          this.set(read());
        } catch (error) {
          this.fail(error);
        }
      });
    }
    at("compare").addEventListener("click", () => {
      if (this.panels.length > 1) this.panels.pop().stop();
      else {
        const [first] = this.panels, told = first.told();
        this.panels.push(new Panel(this, { ...told, method: another(first.methods(), told.method), options: "" }));
      }
      this.lay();
      this.remember();
      if (this.item && this.panels.length > 1) this.panels[1].explain();
    });
    at("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      ask.useToken(at("token").value.trim());
      this.start();
    });
  }
}

const page = new Page();
page.wire();
page.start();
