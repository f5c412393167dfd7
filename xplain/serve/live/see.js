// How a picture becomes the model's input, by its card; and a layer's values as a grid of tiles.

// The picture as the card crops and resizes it; the browser resizes, so last digits are not those of a server.
export function seen(source, width, height, about) {
  const { card, size: [rows, columns] } = about;
  const still = document.createElement("canvas");
  still.width = columns;
  still.height = rows;
  const ink = still.getContext("2d", { willReadFrequently: true });
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, columns, rows);
  let [high, wide] = [height, width];
  if (card.resize_short) {
    const by = card.resize_short / Math.min(width, height);
    [high, wide] = [Math.round(height * by), Math.round(width * by)];
  }
  if (card.resize) [high, wide] = card.resize;
  if (!card.resize_short && !card.resize && !card.crop) [high, wide] = [rows, columns];
  ink.imageSmoothingQuality = "high";
  ink.drawImage(source, Math.round((columns - wide) / 2), Math.round((rows - high) / 2), wide, high);
  return still;
}

export function tensor(still, about) {
  const { card, size: [rows, columns], layout } = about, size = rows * columns;
  const pixels = still.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, columns, rows).data;
  const grey = card.mode === "L", channels = grey ? 1 : 3, order = card.mode === "BGR" ? [2, 1, 0] : [0, 1, 2];
  const data = new Float32Array(channels * size), last = layout.endsWith("C");
  for (let c = 0; c < channels; c++) {
    const mean = card.mean[c % card.mean.length], std = card.std[c % card.std.length];
    for (let k = 0; k < size; k++) {
      const at = 4 * k;
      const value = grey ? Math.round(0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2]) : pixels[at + order[c]];
      data[last ? k * channels + c : c * size + k] = (value * card.scale - mean) / std;
    }
  }
  const item = layout === "NHW" ? [rows, columns] : last ? [rows, columns, channels] : [channels, rows, columns];
  return { data, dims: [1, ...item] };
}

// The same with a rectangle at zero, in the model's own units: for most cards the mean colour.
export function without({ data, dims }, [top, left, bottom, right], about) {
  const [rows, columns] = about.size, size = rows * columns, channels = data.length / size, last = about.layout.endsWith("C");
  const hidden = Float32Array.from(data);
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const k = row * columns + column;
      for (let c = 0; c < channels; c++) hidden[last ? k * channels + c : c * size + k] = 0;
    }
  }
  return { data: hidden, dims };
}

// One channel as a map of the picture's own shape: each of its cells as often as it covers pixels.
export function channelOf(values, channel, [rows, columns]) {
  const [, , high, wide] = values.dims, data = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const from = (channel * high + Math.floor((row * high) / rows)) * wide;
    for (let column = 0; column < columns; column++) data[row * columns + column] = values.data[from + Math.floor((column * wide) / columns)];
  }
  return { data, shape: [rows, columns] };
}

const MOST = 64;
const GAP = 1;

// The channels that are most active, each from black to white by its own largest value; one of them may be marked.
export function tiles(canvas, values, marked) {
  const [, channels, rows, columns] = values.dims, size = rows * columns, data = values.data;
  const peaks = Array.from({ length: channels }, (_, c) => {
    let most = 0;
    for (let k = c * size; k < (c + 1) * size; k++) most = Math.max(most, data[k]);
    return [most, c];
  });
  const few = peaks.sort((a, b) => b[0] - a[0]).slice(0, MOST).sort((a, b) => a[1] - b[1]);
  const across = Math.ceil(Math.sqrt(few.length)), down = Math.ceil(few.length / across);
  canvas.width = across * (columns + GAP) + GAP;
  canvas.height = down * (rows + GAP) + GAP;
  canvas.classList.remove("empty");
  const ink = canvas.getContext("2d"), pixels = ink.createImageData(columns, rows);
  few.forEach(([most, c], place) => {
    for (let k = 0; k < size; k++) {
      const grey = most > 0 ? 255 * Math.max(0, data[c * size + k]) / most : 0;
      pixels.data.set([grey, grey, grey, 255], 4 * k);
    }
    const left = (place % across) * (columns + GAP), top = Math.floor(place / across) * (rows + GAP);
    if (c === marked) {
      ink.fillStyle = "#e8a300";
      ink.fillRect(left, top, columns + 2 * GAP, rows + 2 * GAP);
    }
    ink.putImageData(pixels, left + GAP, top + GAP);
  });
  return { chosen: few.map(([, c]) => c), across, down };
}

// The channel whose tile an event points at, or null; the canvas is drawn in its own proportions.
export function tileAt(event, { chosen, across, down }) {
  const { left, top, width, height } = event.target.getBoundingClientRect();
  const column = Math.floor((across * (event.clientX - left)) / width), row = Math.floor((down * (event.clientY - top)) / height);
  return chosen[row * across + column] ?? null;
}
