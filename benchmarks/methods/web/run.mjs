// Runs compiled files with onnxruntime-web (WebAssembly, one thread) and writes what they say.
//
//   node run.mjs jobs.json > answers.json
//
// jobs.json: [{model, feeds: {name: {type, dims, file}}, out, rounds}]; a file holds the numbers, little endian.
// The attribution goes to `out` as float32. XPLAIN_WEB_MODULES names a folder that holds node_modules, if not this one.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const folder = process.env.XPLAIN_WEB_MODULES ?? import.meta.dirname;
const require = createRequire(pathToFileURL(`${folder}/`));
const ort = require('onnxruntime-web');
const { version } = JSON.parse(readFileSync(`${folder}/node_modules/onnxruntime-web/package.json`, 'utf8'));
ort.env.wasm.numThreads = 1;
ort.env.logLevel = 'error';

const WARM_UP = 4; // the engine compiles WebAssembly twice: quickly when it is loaded, well when it has run a while
const arrays = { float32: Float32Array, int64: BigInt64Array };

function tensor({ type, dims, file }) {
  const { buffer, byteOffset, byteLength } = readFileSync(file);
  return new ort.Tensor(type, new arrays[type](buffer.slice(byteOffset, byteOffset + byteLength)), dims);
}

async function answer({ model, feeds, out, rounds }) {
  const start = performance.now();
  const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'] });
  const load = performance.now() - start;
  const given = Object.fromEntries(Object.entries(feeds).map(([name, one]) => [name, tensor(one)]));
  const seconds = [];
  let found;
  for (let k = -WARM_UP; k < rounds; k++) {
    const begin = performance.now();
    found = await session.run(given, ['attribution']);
    if (k >= 0) seconds.push((performance.now() - begin) / 1000);
  }
  const { buffer, byteOffset, byteLength } = found.attribution.data;
  writeFileSync(out, Buffer.from(buffer, byteOffset, byteLength));
  await session.release();
  return { inputs: session.inputNames, dims: found.attribution.dims, load: load / 1000, seconds };
}

const answers = [];
for (const job of JSON.parse(readFileSync(process.argv[2], 'utf8'))) {
  try {
    answers.push(await answer(job));
  } catch (error) {
    answers.push({ error: String(error.message ?? error) });
  }
}
console.log(JSON.stringify({ version, node: process.version, answers }));
