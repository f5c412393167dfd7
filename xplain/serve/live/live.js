// Explains pictures, and the camera's as it comes, in the browser alone. Its state is in the address, as with a server.

import { recall, remember } from "./address.js";
import { another, lay, offered } from "./controls.js";
import { Shown } from "./shown.js";

const at = (id) => document.getElementById(id);

class Page {
  constructor() {
    this.panels = [];
    this.example = this.still = this.stream = null;
    this.times = [];
  }

  say(text) {
    at("status").classList.remove("bad");
    at("status").textContent = text;
  }

  fail(error) {
    at("status").classList.add("bad");
    at("status").textContent = error.message;
  }

  async start() {
    const { models, examples } = await (await fetch("about.json")).json(), state = recall();
    this.offers = models;
    this.panels = state.panels.map((one) => new Shown(this, one));
    this.lay();
    this.wire();
    at("compare").hidden = false;
    const several = new Set(models.map((one) => one.name)).size > 1, methods = new Set(models.map((one) => one.method)).size > 1;
    at("compare").textContent = `Compare with another ${[methods && "method", several && "model"].filter(Boolean).join(" or ") || "class"}`;
    at("examples").replaceChildren(...examples.map((name) => offered(name, this.where(name), () => this.choose(name).catch((error) => this.fail(error)))));
    at("examples").hidden = !examples.length;
    await Promise.all(this.panels.map((one) => one.open));
    this.say("Ready.");
    if (examples.includes(state.example)) await this.choose(state.example);
  }

  where(name) { return `examples/${encodeURIComponent(name)}`; }

  lay() { lay(this.panels, at("panels"), at("compare")); }

  remember() {
    remember({ panels: this.panels.map((one) => one.told()), example: this.example ?? undefined });
  }

  async compare() {
    if (this.panels.length > 1) this.panels.pop();
    else {
      const [first] = this.panels, told = first.told(), method = another(first.methods(), told.method);
      const models = [...first.at("model").options].map((one) => one.value);
      const model = method === told.method ? models.find((one) => one !== told.model) ?? told.model : told.model;
      this.panels.push(new Shown(this, { ...told, method, model }));
    }
    this.lay();
    this.remember();
    if (this.panels.length > 1) this.panels[1].again();
  }

  // ---------------------------------------------------------------- pictures

  async choose(name) {
    const answer = await fetch(this.where(name));
    if (!answer.ok) throw new Error(`${name} cannot be had: ${answer.status} ${answer.statusText}`);
    await this.take(await answer.blob(), name, name);
  }

  async take(blob, said, example = null) {
    this.stream?.getTracks().forEach((one) => one.stop());
    this.stream = null;
    at("video").classList.add("away");
    at("live").parentElement.hidden = true;
    let picture;
    try {
      picture = await createImageBitmap(blob);
    } catch (error) {
      throw new Error(`The picture cannot be read: ${error.message}`);
    }
    this.example = example;
    this.still = [picture, picture.width, picture.height];
    this.remember();
    for (const one of this.panels) await one.explain(...this.still);
    this.say(said);
  }

  // ---------------------------------------------------------------- the camera

  async camera() {
    if (!navigator.mediaDevices) throw new Error("The camera needs https, or a page from localhost.");
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
    } catch (error) {
      throw new Error(`The camera cannot be used: ${error.message}`);
    }
    this.example = null;
    this.remember();
    at("live").checked = true;
    at("live").parentElement.hidden = false;
    at("video").srcObject = this.stream;
    await at("video").play();
    await this.frame();
  }

  // The camera's picture stands still, as for hiding something of it.
  stand() { at("live").checked = false; }

  async frame() {
    const video = at("video"), { times } = this;
    if (!this.stream) return;
    if (at("live").checked && video.videoWidth) {
      const still = document.createElement("canvas");
      [still.width, still.height] = [video.videoWidth, video.videoHeight];
      still.getContext("2d").drawImage(video, 0, 0); // the same moment for both panels
      this.still = [still, still.width, still.height];
      for (const one of this.panels) await one.explain(...this.still);
      times.push(performance.now());
      while (times.length > 20) times.shift();
      if (times.length > 2) this.say(`${(1000 * (times.length - 1) / (times.at(-1) - times[0])).toFixed(1)} pictures a second`);
    } else times.length = 0;
    setTimeout(() => this.frame().catch((error) => this.fail(error)), at("live").checked ? 0 : 50); // after the page has had its turn
  }

  wire() {
    const drop = at("drop"), taken = (file) => this.take(file, file.name || "Pasted.").catch((error) => this.fail(error));
    at("file").addEventListener("change", (event) => event.target.files[0] && taken(event.target.files[0]));
    at("camera").addEventListener("click", () => this.camera().catch((error) => this.fail(error)));
    at("compare").addEventListener("click", () => this.compare().catch((error) => this.fail(error)));
    for (const kind of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", kind === "dragover");
        const file = kind === "drop" && event.dataTransfer.files[0];
        if (file) taken(file);
      });
    }
    document.addEventListener("paste", (event) => event.clipboardData.files[0] && taken(event.clipboardData.files[0]));
  }
}

const page = new Page();
page.start().catch((error) => page.fail(error));
