// The compiled models, each opened when it is first asked; WebAssembly or WebGPU, whichever a warm-up finds faster.

import { tensor } from "./see.js";

const WARM_UP = 3;
const open = new Map();
let ort = null, gpu = null, turn = Promise.resolve();

async function start() {
  gpu = navigator.gpu ? await navigator.gpu.requestAdapter().catch(() => null) : null;
  const runtime = await import(gpu ? "./ort/ort.webgpu.min.mjs" : "./ort/ort.wasm.min.mjs");
  runtime.env.wasm.wasmPaths = new URL("ort/", location.href).href;
  runtime.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  runtime.env.logLevel = "error";
  return runtime;
}

async function feed(session, about, { data, dims }, target) {
  const feeds = { [about.input]: new ort.Tensor("float32", data, dims) };
  if (session.inputNames.includes("target")) feeds.target = new ort.Tensor("int64", BigInt64Array.of(BigInt(target)), [1]);
  return session.run(feeds);
}

async function raced(about) {
  ort ??= await start();
  const answer = await fetch(about.file);
  if (!answer.ok) throw new Error(`${about.file} cannot be had: ${answer.status} ${answer.statusText}`);
  const model = new Uint8Array(await answer.arrayBuffer()), blank = document.createElement("canvas"), tried = [];
  [blank.height, blank.width] = about.size;
  for (const provider of gpu ? ["webgpu", "wasm"] : ["wasm"]) {
    try {
      const session = await ort.InferenceSession.create(model, { executionProviders: [provider] });
      await feed(session, about, tensor(blank, about), -1);
      const began = performance.now();
      for (let k = 0; k < WARM_UP; k++) await feed(session, about, tensor(blank, about), -1);
      tried.push({ provider, session, took: (performance.now() - began) / WARM_UP });
    } catch (error) {
      console.info(`${provider} cannot run the model: ${error.message}`);
    }
  }
  if (!tried.length) throw new Error(`Neither WebAssembly nor WebGPU can run ${about.source} here.`);
  tried.sort((a, b) => a.took - b.took);
  await Promise.all(tried.slice(1).map(({ session }) => session.release()));
  const threads = self.crossOriginIsolated ? `${ort.env.wasm.numThreads} threads` : "1 thread: served without COOP and COEP";
  return { session: tried[0].session, how: `${tried.map(({ provider, took }) => `${provider} ${took.toFixed(0)} ms`).join(", ")}; ${threads}` };
}

// One thing after the other: the runtime has one heap, and a warm-up beside another run would be measured wrongly.
function inTurn(work) {
  const mine = turn.then(work);
  turn = mine.catch(() => {});
  return mine;
}

// Make a model ready, and say which way runs it.
export async function ready(about) {
  return (await inTurn(async () => {
    if (!open.has(about)) open.set(about, await raced(about));
    return open.get(about);
  })).how;
}

export async function run(about, given, target = -1) {
  await ready(about);
  return inTurn(() => feed(open.get(about).session, about, given, target));
}
