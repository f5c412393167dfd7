// What the page asks of the server. The token stays in this tab, and travels in a header alone.

const KEY = "xplain-token";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function useToken(text) {
  sessionStorage.setItem(KEY, text);
}

async function request(path, given = {}) {
  const headers = new Headers(given.headers);
  const token = sessionStorage.getItem(KEY);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let answer;
  try {
    answer = await fetch(path, { ...given, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer.");
  }
  if (answer.ok) return answer;
  let text = answer.statusText;
  try {
    text = (await answer.json()).error ?? text;
  } catch { /* no JSON: the status says it */ }
  const again = answer.headers.get("Retry-After");
  throw new Refused(answer.status, again ? `${text} (in ${again} s)` : text);
}

export const models = async () => (await request("api/models")).json();
export const examples = async () => (await request("api/examples")).json();
export const example = async (name) => (await request(`api/examples/${encodeURIComponent(name)}`)).blob();

export async function post(path, body, signal) {
  const answer = await request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  return answer.json();
}

export async function drawing(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await request(path, { method: "POST", headers, body: JSON.stringify(body) })).blob();
}

export const drop = (job) => request(`api/jobs/${job}`, { method: "DELETE" });

// The events of a job as they come: [kind, data].
export async function* events(job, signal) {
  const answer = await request(`api/jobs/${job}/events`, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    waiting += value;
    const blocks = waiting.split("\n\n");
    waiting = blocks.pop();
    for (const block of blocks) {
      const told = Object.fromEntries(block.split("\n").map((line) => {
        const colon = line.indexOf(": ");
        return [line.slice(0, colon), line.slice(colon + 2)];
      }));
      yield [told.event, JSON.parse(told.data)];
    }
  }
}

export function base64(buffer) {
  const bytes = new Uint8Array(buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

// An array as the server writes it: {dtype, shape, b64}.
export function array(told) {
  const bytes = Uint8Array.from(atob(told.b64), (one) => one.charCodeAt(0));
  const kinds = { float32: Float32Array, float64: Float64Array };
  return { shape: told.shape, data: new kinds[told.dtype](bytes.buffer) };
}
