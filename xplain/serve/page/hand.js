// A person's hand over a map: pointer and keys read values, and a rectangle is drawn from corner to corner.

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export const round = (value) => (Number.isFinite(value) ? Number(value.toPrecision(3)).toString() : "none");

// Follow pointer and keys over a canvas whose picture is contained in it, at its left.
// `on.shape()` is the map's, or null where there is none; `on.read(cell)` is told where a person looks, `on.box(found)` of
// a rectangle on its way, `on.hide(found)` of one that is whole, or null, `on.corner(cell)` of the first by keyboard.
export function follow(canvas, on) {
  let from = null, corner = null, place = null;
  const cell = (event) => {
    const bounds = canvas.getBoundingClientRect();
    const across = Math.min(bounds.width / canvas.width, bounds.height / canvas.height);
    const top = (bounds.height - across * canvas.height) / 2;
    const clip = (value, most) => Math.min(most - 1, Math.max(0, Math.floor(value)));
    return [clip((event.clientY - bounds.top - top) / across, canvas.height), clip((event.clientX - bounds.left) / across, canvas.width)];
  };
  const read = (at) => {
    place = at;
    on.read(at);
  };
  canvas.addEventListener("pointermove", (event) => {
    if (!on.shape()) return;
    read(cell(event));
    if (from) on.box(box(from, place));
  });
  canvas.addEventListener("pointerdown", (event) => {
    if (!on.shape() || event.button) return;
    from = cell(event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!from) return;
    const found = box(from, cell(event));
    from = null;
    on.hide(found[2] - found[0] > 1 && found[3] - found[1] > 1 ? found : null);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = STEPS[event.key], shape = on.shape();
    if (!shape || !(step || ["Enter", "Escape"].includes(event.key))) return;
    event.preventDefault();
    const far = event.shiftKey ? 10 : 1;
    const [row, column] = place ?? shape.map((extent) => extent >> 1);
    if (step) {
      const within = (value, most) => Math.min(most - 1, Math.max(0, value));
      read([within(row + far * step[0], shape[0]), within(column + far * step[1], shape[1])]);
      if (corner) on.box(box(corner, place));
      return;
    }
    const first = corner;
    corner = event.key === "Enter" && !first ? [row, column] : null;
    if (corner) on.corner(corner);
    else on.hide(first && event.key === "Enter" ? box(first, [row, column]) : null);
  });
  return { forget: () => { corner = null; } };
}

function box([top, left], [bottom, right]) {
  return [Math.min(top, bottom), Math.min(left, right), Math.max(top, bottom) + 1, Math.max(left, right) + 1];
}

export const HINT = "Drag over the picture to hide something and see what the score does.";
export const cornered = ([row, column]) => `A corner at row ${row}, column ${column}; go to the other and press Enter.`;
export const boxed = ([top, left, bottom, right]) => `With rows ${top} to ${bottom} and columns ${left} to ${right} hidden`;

// What hiding did, in words.
export function changed(words, name, before, after, best) {
  const change = after - before;
  return `${words}, the score of ${name} goes from ${round(before)} to ${round(after)} (${change > 0 ? "+" : ""}${round(change)}); best is then ${best}.`;
}

// The value of a map at a cell, with half of its 95 % interval where there is one.
export function valued({ map, error }, [row, column], unit) {
  const k = row * map.shape[1] + column, spread = error ? ` ± ${round(1.96 * error.data[k])}` : "";
  return `row ${row}, column ${column}: ${round(map.data[k])}${spread} ${unit}`;
}
