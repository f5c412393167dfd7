// A method's options as a person types them: name=value, …

// The options in a text, in the types that JSON has.
export function read(text) {
  const found = {};
  for (const part of text.split(",")) {
    const [name, value] = part.split("=").map((one) => one.trim());
    if (!name) continue;
    if (value === undefined) throw new Error(`Options are name=value; got ${part.trim()}.`);
    found[name] = value !== "" && Number.isFinite(Number(value)) ? Number(value) : value === "true" ? true : value;
  }
  return found;
}

// What of a text this method has too: it may have been written for another.
export function fitting(text, { options }) {
  const own = text.split(",").map((one) => one.trim()).filter((one) => one.split("=")[0].trim().replaceAll("-", "_") in options);
  return own.join(", ");
}

// Say what the method takes: the first few as an example, all of them as a hint.
export function offer(input, { options }) {
  const plain = Object.entries(options).filter(([, one]) => ["number", "string", "boolean"].includes(typeof one.default));
  input.placeholder = plain.slice(0, 3).map(([name, one]) => `${name}=${one.default}`).join(", ");
  input.title = Object.entries(options).map(([name, one]) => `${name}: ${one.help}`).join("\n");
}
