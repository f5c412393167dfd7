"use strict";
(() => {
  const el = (id) => document.getElementById(id);
  const data = JSON.parse(el("data").textContent);
  el("data").remove();
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const n = data.names.length;
  const spots = { map: floats(data.map), grid: floats(data.grid) };  // x, y of middles, in 0..1
  const extent = data.extent;  // side of a picture in the same unit, per form
  const mean = bytes(data.mean);  // three bytes an item: what a picture is from afar
  const colours = {};
  for (const one of data.colours) colours[one.name] = { legend: one.legend, of: one.of ? bytes(one.of) : null };

  const canvas = el("canvas"), pen = canvas.getContext("2d");
  const stage = el("stage");
  let width = 1, height = 1, ratio = 1;
  let scale = 1, left = 0, top = 0;  // pixels = spot * scale + (left, top)
  let form = "map", colour = data.colour in colours ? data.colour : "none", chosen = -1, only = null, wanted = "";
  let seen = new Uint8Array(n).fill(1), found = n;

  // ------------------------------------------------------------------ pictures, sheet by sheet, as they are needed

  const sheets = data.sheets.map((level) => ({ ...level, images: new Array(level.files.length).fill(null) }));

  function sheet(level, k) {
    let image = level.images[k];
    if (image === null) {
      image = new Image();
      image.ready = false;
      image.onload = () => { image.ready = true; image.decode().then(later, later); };
      image.src = "data:image/" + data.type + ";base64," + level.files[k];
      level.images[k] = image;
    }
    return image;
  }

  function tile(item, size) {
    // the smallest pictures that are large enough, else the largest that are there
    let ready = null;
    for (const level of sheets) {
      const per = level.across * level.across, k = Math.floor(item / per);
      const image = level.side >= size || level === sheets[sheets.length - 1] ? sheet(level, k) : level.images[k];
      const place = item % per;
      if (image !== null && image.ready) {
        ready = [image, (place % level.across) * level.side, Math.floor(place / level.across) * level.side, level.side];
      }
      if (level.side >= size) break;
    }
    return ready;
  }

  // ------------------------------------------------------------------ drawing

  const rgb = (of, i) => "rgb(" + of[3 * i] + "," + of[3 * i + 1] + "," + of[3 * i + 2] + ")";
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  let shown = null;  // what was last drawn in full, and where: moved about while a new one is made
  let waiting = 0, frame = 0;

  function later() { if (!frame) frame = requestAnimationFrame(() => { frame = 0; full(); }); }

  function visible() {
    const at = spots[form], half = (extent[form] * scale) / 2 + 2, some = [];
    for (let i = 0; i < n; i++) {
      const x = at[2 * i] * scale + left, y = at[2 * i + 1] * scale + top;
      if (x > -half && y > -half && x < width + half && y < height + half) some.push(i);
    }
    return some;
  }

  function full() {
    const started = performance.now();
    const at = spots[form], some = visible();
    const size = form === "map" ? Math.min(extent.map * scale, 96) : extent.grid * scale * 0.94;
    const of = colours[colour] && colours[colour].of, edge = of ? Math.max(1, size * 0.09) : 0;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = ink("--paper");
    pen.fillRect(0, 0, width, height);
    pen.imageSmoothingEnabled = true;
    const dots = size < 5 || !sheets.length;
    const side = dots ? Math.max(2, Math.min(size, 14)) : size;
    for (let pass = 0; pass < 2; pass++) {  // what was not searched for lies below, faint
      for (const i of some) {
        if ((seen[i] === 1) !== (pass === 1)) continue;
        const x = at[2 * i] * scale + left - side / 2, y = at[2 * i + 1] * scale + top - side / 2;
        pen.globalAlpha = seen[i] ? 1 : 0.12;
        if (dots) {
          pen.fillStyle = of ? rgb(of, i) : rgb(mean, i);
          pen.fillRect(x, y, side, side);
          continue;
        }
        if (of) { pen.fillStyle = rgb(of, i); pen.fillRect(x - edge, y - edge, side + 2 * edge, side + 2 * edge); }
        const one = tile(i, side * ratio);
        if (one) pen.drawImage(one[0], one[1], one[2], one[3], one[3], x, y, side, side);
        else { pen.fillStyle = rgb(mean, i); pen.fillRect(x, y, side, side); }
      }
    }
    pen.globalAlpha = 1;
    if (form === "map") names();
    if (chosen >= 0) {
      const x = at[2 * chosen] * scale + left, y = at[2 * chosen + 1] * scale + top, r = side / 2 + edge + 3;
      pen.strokeStyle = ink("--mark");
      pen.lineWidth = 3;
      pen.strokeRect(x - r, y - r, 2 * r, 2 * r);
    }
    shown = { scale, left, top, heavy: performance.now() - started > 12 };
    if (shown.heavy) {
      shown.copy = shown.copy || document.createElement("canvas");
      shown.copy.width = canvas.width;
      shown.copy.height = canvas.height;
      shown.copy.getContext("2d").drawImage(canvas, 0, 0);
    }
  }

  function names() {
    const small = width < 600, line = small ? 16 : 22;
    pen.font = (small ? "600 11px" : "600 13px") + " system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    const taken = [];
    for (const group of data.groups) {
      const half = pen.measureText(group.name).width / 2 + 5, below = Math.min(extent.map * scale, 96) / 2 + line / 2;
      const x = Math.min(Math.max(group.x * scale + left, half), width - half), y = group.y * scale + top + below;
      if (Math.abs(x - group.x * scale - left) > half) continue;
      if (x < -half || y < -12 || x > width + half || y > height + 12) continue;
      if (taken.some((b) => Math.abs(b[0] - x) < b[2] + half && Math.abs(b[1] - y) < line)) continue;
      taken.push([x, y, half]);
      pen.globalAlpha = 0.86;
      pen.fillStyle = ink("--paper");
      pen.fillRect(x - half, y - line / 2, 2 * half, line);
      pen.globalAlpha = 1;
      pen.fillStyle = ink("--ink");
      pen.fillText(group.name, x, y + 1);
    }
  }

  function moved() {
    // many pictures: what was drawn is moved at once, and drawn anew when the hand rests
    if (shown === null || !shown.heavy) { later(); return; }
    if (!frame) frame = requestAnimationFrame(() => {
      frame = 0;
      const k = scale / shown.scale;
      pen.setTransform(1, 0, 0, 1, 0, 0);
      pen.fillStyle = ink("--paper");
      pen.fillRect(0, 0, canvas.width, canvas.height);
      pen.drawImage(shown.copy, (left - shown.left * k) * ratio, (top - shown.top * k) * ratio, canvas.width * k, canvas.height * k);
    });
    clearTimeout(waiting);
    waiting = setTimeout(later, 90);
  }

  // ------------------------------------------------------------------ where one looks

  function fit() {
    const margin = 24, side = Math.min(width, height) - 2 * margin;
    scale = Math.max(side, 40);
    left = (width - scale) / 2;
    top = (height - scale) / 2;
    later();
  }

  function zoom(factor, x, y) {
    const least = Math.min(width, height) * 0.4, most = 400 / Math.min(extent.map, extent.grid);
    const next = Math.max(least, Math.min(most, scale * factor)), k = next / scale;
    left = x - (x - left) * k;
    top = y - (y - top) * k;
    scale = next;
    moved();
  }

  function resize() {
    const box = stage.getBoundingClientRect(), first = width === 1;
    const middle = [(width / 2 - left) / scale, (height / 2 - top) / scale];
    width = Math.max(1, box.width);
    height = Math.max(1, box.height);
    ratio = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    if (first) { fit(); return; }
    left = width / 2 - middle[0] * scale;
    top = height / 2 - middle[1] * scale;
    later();
  }

  const fingers = new Map();
  let start = null, dragged = false;

  canvas.addEventListener("pointerdown", (e) => {
    canvas.setPointerCapture(e.pointerId);
    fingers.set(e.pointerId, [e.offsetX, e.offsetY]);
    if (fingers.size === 1) { start = [e.offsetX, e.offsetY]; dragged = false; }
  });
  canvas.addEventListener("pointermove", (e) => {
    const before = fingers.get(e.pointerId);
    if (!before) return;
    const now = [e.offsetX, e.offsetY];
    if (start && Math.hypot(now[0] - start[0], now[1] - start[1]) > 4) dragged = true;
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== e.pointerId)[1];
      const was = Math.hypot(before[0] - other[0], before[1] - other[1]);
      const is = Math.hypot(now[0] - other[0], now[1] - other[1]);
      dragged = true;
      if (was > 0) zoom(is / was, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      left += (now[0] - before[0]) / 2;
      top += (now[1] - before[1]) / 2;
    } else {
      left += now[0] - before[0];
      top += now[1] - before[1];
    }
    fingers.set(e.pointerId, now);
    moved();
  });
  const lifted = (e) => {
    const had = fingers.delete(e.pointerId);
    if (had && !dragged && e.type === "pointerup" && fingers.size === 0) choose(nearest(e.offsetX, e.offsetY));
  };
  canvas.addEventListener("pointerup", lifted);
  canvas.addEventListener("pointercancel", lifted);
  canvas.addEventListener("wheel", (e) => {
    e.preventDefault();
    zoom(Math.exp(-(e.deltaMode === 1 ? 16 * e.deltaY : e.deltaY) * 0.0016), e.offsetX, e.offsetY);
  }, { passive: false });
  canvas.addEventListener("dblclick", (e) => zoom(2, e.offsetX, e.offsetY));
  canvas.addEventListener("keydown", (e) => {
    const step = 60, moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (e.key in moves) { left += moves[e.key][0]; top += moves[e.key][1]; moved(); }
    else if (e.key === "+" || e.key === "=") zoom(1.3, width / 2, height / 2);
    else if (e.key === "-") zoom(1 / 1.3, width / 2, height / 2);
    else if (e.key === "0") fit();
    else if (e.key === "Escape") choose(-1);
    else return;
    e.preventDefault();
  });
  el("in").onclick = () => zoom(1.5, width / 2, height / 2);
  el("out").onclick = () => zoom(1 / 1.5, width / 2, height / 2);
  el("all").onclick = fit;

  // ------------------------------------------------------------------ one item, colours, finding

  function nearest(x, y) {
    // the uppermost picture below the finger, else the nearest one close to it
    const at = spots[form], half = Math.min(extent[form] * scale, form === "map" ? 96 : 1e9) / 2;
    let best = -1, least = 14 * 14, hit = -1;
    for (let i = 0; i < n; i++) {
      const dx = Math.abs(at[2 * i] * scale + left - x), dy = Math.abs(at[2 * i + 1] * scale + top - y);
      if (dx < half && dy < half && (hit < 0 || seen[i] >= seen[hit])) hit = i;
      if (dx * dx + dy * dy <= least) { best = i; least = dx * dx + dy * dy; }
    }
    return hit >= 0 && half > 6 ? hit : best;
  }

  function add(parent, kind, text) {
    const made = document.createElement(kind);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  function choose(item) {
    chosen = item;
    const one = el("one");
    one.replaceChildren();
    one.hidden = item < 0;
    if (item >= 0) {
      add(one, "h2", data.names[item]);
      picture(one, item);
      const list = add(one, "dl");
      const row = (name, text) => { if (text !== "") { add(list, "dt", name); add(list, "dd", text); } };
      row("predicted", data.predicted.length ? data.classes[data.predicted[item]] : "");
      row("score", data.scores.length ? data.scores[item] : "");
      row("true class", data.truth.length ? data.classes[data.truth[item]] : "");
      row("group", data.cluster.length ? data.clusters[data.cluster[item]] : "");
    }
    later();
  }

  function picture(parent, item) {
    const level = sheets[sheets.length - 1];
    if (!level) return;
    const image = sheet(level, Math.floor(item / (level.across * level.across)));
    const draw = () => {
      const cut = document.createElement("canvas"), place = item % (level.across * level.across);
      cut.width = cut.height = level.side;
      const x = (place % level.across) * level.side, y = Math.floor(place / level.across) * level.side;
      cut.getContext("2d").drawImage(image, x, y, level.side, level.side, 0, 0, level.side, level.side);
      shownImage.src = cut.toDataURL();
    };
    const shownImage = add(parent, "img");
    shownImage.alt = data.names[item];
    if (image.ready) draw(); else image.addEventListener("load", draw, { once: true });
  }

  function legend() {
    const part = el("legend");
    part.replaceChildren();
    if (!colours[colour] || !colours[colour].of) {
      if (!data.clusters.length) return;
      add(part, "h2", "Groups in the layer's space, by their commonest label");
      const list = add(part, "ul");
      for (const group of data.groups) {
        const button = add(add(list, "li"), "button", group.told);
        button.type = "button";
        button.onclick = () => { left = width / 2 - group.x * scale; top = height / 2 - group.y * scale; moved(); };
      }
      return;
    }
    add(part, "h2", "Colours (choose one to see it alone)");
    const list = add(part, "ul");
    for (const [value, name] of colours[colour].legend) {
      const button = add(add(list, "li"), "button");
      button.type = "button";
      button.setAttribute("aria-pressed", String(only === value));
      const swatch = add(button, "span");
      swatch.className = "swatch";
      swatch.style.background = "rgb(" + value.join(",") + ")";
      add(button, "span", name);
      if (colour !== "score") button.onclick = () => { only = only === value ? null : value; search(); legend(); };
    }
  }

  function search() {
    const of = colours[colour] && colours[colour].of;
    found = 0;
    for (let i = 0; i < n; i++) {
      let fine = !wanted || data.names[i].toLowerCase().includes(wanted);
      if (!fine && data.predicted.length) fine = data.classes[data.predicted[i]].toLowerCase().includes(wanted);
      if (!fine && data.truth.length) fine = data.classes[data.truth[i]].toLowerCase().includes(wanted);
      if (fine && only && of) fine = of[3 * i] === only[0] && of[3 * i + 1] === only[1] && of[3 * i + 2] === only[2];
      seen[i] = fine ? 1 : 0;
      found += fine ? 1 : 0;
    }
    el("count").textContent = (found < n ? found.toLocaleString("en") + " of " : "") + n.toLocaleString("en") + " items";
    later();
  }

  for (const one of data.colours) { const option = add(el("colour"), "option", one.told); option.value = one.name; }
  el("colour").value = colour;
  el("colour").onchange = () => { colour = el("colour").value; only = null; search(); legend(); };
  el("form").onchange = () => { form = el("form").value; fit(); };
  el("find").oninput = () => { wanted = el("find").value.trim().toLowerCase(); search(); };
  new ResizeObserver(resize).observe(stage);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", later);
  search();
  legend();
  resize();
})();
