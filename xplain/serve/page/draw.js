// A map over its picture. Nothing is rescaled but for the eye: the limit of the colours is the 99th percentile, and said.

export function limitOf(data) {
  const sizes = Float64Array.from(data, Math.abs).filter(Number.isFinite).sort();
  if (!sizes.length) return 0;
  const place = 0.99 * (sizes.length - 1), low = Math.floor(place);
  const limit = sizes[low] + (place - low) * (sizes[Math.min(low + 1, sizes.length - 1)] - sizes[low]);
  return limit > 0 ? limit : sizes[sizes.length - 1];
}

export function colour(table, value, limit, signed) {
  const share = limit > 0 ? Math.min(1, Math.max(signed ? -1 : 0, value / limit)) : 0;
  const place = signed ? (share + 1) / 2 : share;
  return table[Math.round(place * (table.length - 1))];
}

// Black or white, whichever is read better on a colour.
export function ink([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#111" : "#fff";
}

export function paint(canvas, view) {
  const { picture, map, error, limit, signed, table, opacity, threshold, box } = view;
  const [rows, columns] = map ? map.shape : [picture.height, picture.width];
  canvas.width = columns;
  canvas.height = rows;
  canvas.classList.remove("empty");
  const ink = canvas.getContext("2d", { willReadFrequently: true });
  if (picture) ink.drawImage(picture, 0, 0, columns, rows);
  else ink.clearRect(0, 0, columns, rows);
  if (map) {
    const pixels = ink.getImageData(0, 0, columns, rows), out = pixels.data;
    for (let k = 0; k < map.data.length; k++) {
      const value = map.data[k], size = Math.abs(value);
      if (limit > 0 && size / limit < threshold) continue;
      const [red, green, blue] = colour(table, value, limit, signed);
      // hatched where the 95 % interval contains zero, as in the drawings
      const row = Math.floor(k / columns), column = k % columns;
      const unsure = error && size < 1.96 * error.data[k] && (row + column) % 6 < 2;
      const share = unsure ? opacity * 0.35 : opacity, at = 4 * k;
      out[at] = (1 - share) * out[at] + share * red;
      out[at + 1] = (1 - share) * out[at + 1] + share * green;
      out[at + 2] = (1 - share) * out[at + 2] + share * blue;
      out[at + 3] = 255;
    }
    ink.putImageData(pixels, 0, 0);
  }
  if (box) {
    ink.lineWidth = Math.max(1, columns / 160);
    ink.strokeStyle = "#fff";
    ink.setLineDash([columns / 40, columns / 80]);
    ink.fillStyle = "rgb(128 128 128 / 80%)";
    ink.fillRect(box[1], box[0], box[3] - box[1], box[2] - box[0]);
    ink.strokeRect(box[1], box[0], box[3] - box[1], box[2] - box[0]);
  }
}

export function scale(place, table, limit, signed, unit) {
  const bar = document.createElement("canvas");
  bar.width = table.length;
  bar.height = 1;
  const ink = bar.getContext("2d");
  table.forEach(([red, green, blue], k) => {
    ink.fillStyle = `rgb(${red} ${green} ${blue})`;
    ink.fillRect(k, 0, 1, 1);
  });
  const low = signed ? (-limit).toPrecision(3) : "0";
  place.replaceChildren(low, bar, `${limit.toPrecision(3)} ${unit}`);
}

// The mean of a volume's slices, or of a picture's channels, as a map of rows and columns.
export function flat(array) {
  if (!array || array.shape.length <= 2) return array;
  const [rows, columns] = array.shape.slice(-2), size = rows * columns, times = array.data.length / size;
  const data = new Float32Array(size);
  array.data.forEach((value, k) => { data[k % size] += value / times; });
  return { shape: [rows, columns], data };
}
