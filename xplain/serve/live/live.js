// Explains the camera's picture as it comes, in the browser alone; WebAssembly or WebGPU, whichever a warm-up finds faster.

import { limitOf, paint, scale } from "./draw.js";
import { HINT, boxed, changed, cornered, follow, valued } from "./hand.js";
import { seen, tensor, tiles, without } from "./see.js";

const at = (id) => document.getElementById(id);
const WARM_UP = 3;
const say = (text) => { at("status").textContent = text; };

let ort, about, session, chosen = -1, shown = null, stream = null, busy = false;
const times = [];

async function load() {
  about = await (await fetch("about.json")).json();
  const gpu = navigator.gpu ? await navigator.gpu.requestAdapter().catch(() => null) : null;
  ort = await import(gpu ? "./ort/ort.webgpu.min.mjs" : "./ort/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("ort/", location.href).href;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  ort.env.logLevel = "error";
  const model = new Uint8Array(await (await fetch("model.onnx")).arrayBuffer());
  const blank = document.createElement("canvas");
  [blank.height, blank.width] = about.size;
  const tried = [];
  for (const provider of gpu ? ["webgpu", "wasm"] : ["wasm"]) {
    try {
      const one = await ort.InferenceSession.create(model, { executionProviders: [provider] });
      await run(one, tensor(blank, about));
      const began = performance.now();
      for (let k = 0; k < WARM_UP; k++) await run(one, tensor(blank, about));
      tried.push({ provider, one, took: (performance.now() - began) / WARM_UP });
    } catch (error) {
      console.info(`${provider} cannot run the model: ${error.message}`);
    }
  }
  if (!tried.length) throw new Error("Neither WebAssembly nor WebGPU can run this model here.");
  tried.sort((a, b) => a.took - b.took);
  session = tried[0].one;
  await Promise.all(tried.slice(1).map((other) => other.one.release()));
  const threads = self.crossOriginIsolated ? `${ort.env.wasm.numThreads} threads` : "1 thread: served without COOP and COEP";
  const raced = tried.map(({ provider, took }) => `${provider} ${took.toFixed(0)} ms`).join(", ");
  at("about").textContent = `${about.source}, ${about.method}, ${about.unit}. ${raced}; ${threads}. The browser resizes pictures, so last digits differ from those of a server.`;
  at("layer-title").textContent = about.layer ? `Most active channels of ${about.layer.split(";")[0]}` : "";
  at("camera").disabled = false;
  say("Ready.");
}

async function run(one, { data, dims }) {
  const feeds = { [about.input]: new ort.Tensor("float32", data, dims) };
  if (one.inputNames.includes("target")) feeds.target = new ort.Tensor("int64", BigInt64Array.of(BigInt(chosen)), [1]);
  return one.run(feeds);
}

async function explain(source, width, height) {
  const still = seen(source, width, height, about), given = tensor(still, about);
  const found = await run(session, given);
  const map = found[about.outputs.attribution], [rows, columns] = map.dims.slice(-2);
  const values = { data: map.data.subarray(0, rows * columns), shape: [rows, columns] };
  const limit = limitOf(values.data);
  const scores = Array.from(found[about.outputs.scores].data);
  shown = { picture: still, map: values, limit, signed: about.signed, table: about.colours, given, scores, box: null };
  hand.forget();
  redraw();
  at("map").setAttribute("aria-label", `Map: ${about.method}, in ${about.unit}. Arrow keys read values; drag to hide a rectangle, or press Enter at two of its corners.`);
  at("hidden").textContent = HINT;
  scale(at("scale"), about.colours, limit, about.signed, about.unit);
  classes(scores);
  const layer = found[about.outputs.layer];
  if (about.layer && layer.dims.length === 4) tiles(at("grid"), layer);
}

function redraw() {
  if (shown) paint(at("map"), { ...shown, opacity: at("opacity").value / 100, threshold: at("threshold").value / 100 });
}

// What the model says with a rectangle of the picture hidden; the camera's picture stands still meanwhile.
async function hide(found) {
  at("live").checked = false;
  shown.box = found;
  redraw();
  at("hidden").textContent = found ? "" : HINT;
  if (!found) return;
  while (busy) await new Promise((done) => setTimeout(done, 10));
  const before = shown, scores = before.scores, across = about.size[0] / before.map.shape[0];
  busy = true;
  try {
    const there = (await run(session, without(before.given, found.map((edge) => Math.round(edge * across)), about)))[about.outputs.scores].data;
    if (shown !== before || before.box !== found) return; // something else is shown, or hidden, by now
    const of = chosen >= 0 ? chosen : best(scores)[0];
    at("hidden").textContent = changed(boxed(found), called(of), scores[of], there[of], called(best(there)[0]));
  } finally {
    busy = false;
  }
}

const called = (k) => about.labels[k] ?? `class ${k}`;
const best = (scores) => Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]);

function classes(scores) {
  const order = best(scores).slice(0, 5);
  let shares = null;
  if (about.kind === "probabilities") shares = (k) => scores[k];
  if (about.link === "softmax") {
    const top = scores[order[0]], total = scores.reduce((sum, one) => sum + Math.exp(one - top), 0);
    shares = (k) => Math.exp(scores[k] - top) / total;
  }
  if (about.link === "sigmoid") shares = (k) => 1 / (1 + Math.exp(-scores[k]));
  const explained = chosen >= 0 ? chosen : order[0];
  at("classes").replaceChildren(...order.map((k) => {
    const row = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", String(k === explained));
    for (const text of [called(k), shares ? `${(100 * shares(k)).toFixed(1)} %` : scores[k].toPrecision(3)]) {
      button.append(Object.assign(document.createElement("span"), { textContent: text }));
    }
    button.addEventListener("click", () => {
      chosen = k === explained && chosen >= 0 ? -1 : k;
      if (!stream && shown) explain(shown.picture, shown.picture.width, shown.picture.height);
    });
    row.append(button);
    return row;
  }));
}

async function frame() {
  const video = at("video");
  if (!stream) return;
  if (!busy && at("live").checked && video.videoWidth) {
    busy = true;
    try {
      await explain(video, video.videoWidth, video.videoHeight);
      times.push(performance.now());
      while (times.length > 20) times.shift();
      if (times.length > 2) say(`${(1000 * (times.length - 1) / (times.at(-1) - times[0])).toFixed(1)} pictures a second`);
    } catch (error) {
      say(error.message);
      return;
    } finally {
      busy = false;
    }
  }
  setTimeout(frame, 0); // after the page has had its turn
}

at("camera").addEventListener("click", async () => {
  if (!navigator.mediaDevices) {
    say("The camera needs https, or a page from localhost.");
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
    at("video").srcObject = stream;
    await at("video").play();
    frame();
  } catch (error) {
    say(`The camera cannot be used: ${error.message}`);
  }
});
at("file").addEventListener("change", async (event) => {
  const file = event.target.files[0];
  if (!file) return;
  stream?.getTracks().forEach((one) => one.stop());
  stream = null;
  try {
    const picture = await createImageBitmap(file);
    await explain(picture, picture.width, picture.height);
    say(file.name);
  } catch (error) {
    say(`The picture cannot be read: ${error.message}`);
  }
});
const hand = follow(at("map"), {
  shape: () => shown?.map.shape ?? null,
  read: (cell) => { at("probe").textContent = valued(shown, cell, about.unit); },
  box: (found) => {
    shown.box = found;
    redraw();
  },
  corner: (cell) => { at("hidden").textContent = cornered(cell); },
  hide: (found) => hide(found).catch((error) => say(error.message)),
});
for (const name of ["opacity", "threshold"]) at(name).addEventListener("input", redraw);

load().catch((error) => say(error.message));
