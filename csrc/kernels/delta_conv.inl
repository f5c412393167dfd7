// One processor's convolution; see delta_conv.cpp.

// Where the pixels of a chunk are read and written; `rows` is [tile][tap][kRows].
template <class T>
struct Chunk {
  std::vector<const T*> rows;
  std::vector<T*> out;
  std::vector<const T*> residual;
  std::vector<const float*> base;
  std::vector<int32_t> taps;  // [tile][live]
  std::vector<int64_t> live;  // [tile]
  std::vector<T> loaded;      // [pixel][channel], where the input is transformed as it is read
};

// The input under load_act(scale * v + shift), as a delta again.
template <class T>
XP_HD void transform(const ConvArgs& a, const T* in, const float* base, T* out) {
  const Activator act(a.load_act);
  for (int64_t c = 0; c < a.channels_in; c += kWidth) {
    const vec factor = load(a.scale + c), shift = load(a.shift + c), b = load(base + c);
    const vec before = b * factor + shift, after = (b + load(in + c)) * factor + shift;
    store(out + c, act.none() ? after - before : act(after) - act(before));
  }
}

template <class T>
void gather_chunk(const ConvArgs& a, const PixelList& list, int64_t begin, int64_t count, Deltas<const T> in,
                  Deltas<T> out, Deltas<const T> residual, const T* zeros, Chunk<T>& k) {
  const Geometry& g = a.geometry;
  const int64_t taps = g.kernel_y * g.kernel_x, tiles = ceil_div(count, kRows);
  k.rows.assign(tiles * taps * kRows, zeros);
  k.out.resize(tiles * kRows);
  k.residual.assign(tiles * kRows, nullptr);
  k.base.assign(tiles * kRows, nullptr);
  k.taps.resize(tiles * taps);
  k.live.assign(tiles, 0);
  std::vector<uint8_t> alive(tiles * taps, 0);
  if (a.scale) k.loaded.resize(count * a.channels_in);
  int64_t q = 0;
  list.walk(begin, begin + count, [&](int64_t m, int64_t y, int64_t x, const Block& block) {
    const int64_t tile = q / kRows, row = q % kRows;
    const Window& w = in.windows[m];
    const int64_t top = y * g.stride_y - g.pad_y, left = x * g.stride_x - g.pad_x;
    for (int64_t ky = 0; ky < g.kernel_y; ++ky) {
      if (!(block.rows >> ky & 1u)) continue;
      // offsets, not pointers: a tap outside the window may not even be named
      const int64_t line = w.offset + (top + ky * g.dilation_y - w.y) * w.pitch;
      for (int64_t kx = 0; kx < g.kernel_x; ++kx) {
        if (!(block.columns >> kx & 1u)) continue;
        const int64_t tap = ky * g.kernel_x + kx;
        const T* from = in.data + line + (left + kx * g.dilation_x - w.x) * in.step;
        if (a.scale) {
          T* to = k.loaded.data() + q * a.channels_in;
          transform(a, from, a.load_base.at(top, left), to);
          from = to;
        }
        k.rows[(tile * taps + tap) * kRows + row] = from;
        alive[tile * taps + tap] = 1;
      }
    }
    k.out[q] = out.at(m, y, x);
    k.residual[q] = residual.find(m, y, x);
    if (a.act.bend != Bend::none) k.base[q] = a.base.at(y, x);
    ++q;
  });
  for (int64_t tile = 0; tile < tiles; ++tile)
    for (int64_t tap = 0; tap < taps; ++tap)
      if (alive[tile * taps + tap]) k.taps[tile * taps + k.live[tile]++] = static_cast<int32_t>(tap);
}

template <int R, class T>
XP_HD void tile(const ConvArgs& a, const Chunk<T>& k, int64_t at, int64_t pixels, const T* const* rows,
                const int32_t* taps, int64_t live, int64_t length, const T* weights, Prefetch ahead, int64_t column) {
  const Activator act(a.act);
  // what is read and written behind the sums comes from far away: ask for it before them
  for (int i = 0; i < R && i < pixels; ++i) {
    __builtin_prefetch(k.out[at + i] + column, 1);
    __builtin_prefetch(k.out[at + i] + column + kWidth, 1);
    if (k.residual[at + i]) {
      __builtin_prefetch(k.residual[at + i] + column);
      __builtin_prefetch(k.residual[at + i] + column + kWidth);
    }
    if (!act.none()) {
      __builtin_prefetch(k.base[at + i] + column);
      __builtin_prefetch(k.base[at + i] + column + kWidth);
    }
  }
  vec sums[R][kColumns];
  multiply<R>(rows, taps, live, length, weights, ahead, sums);
  const int columns = static_cast<int>(min64(kColumns, (a.channels_out - column) / kWidth));
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
    if (i >= pixels) break;
    const T* residual = k.residual[at + i];
    T* to = k.out[at + i] + column;
    const float* base = act.none() ? nullptr : k.base[at + i] + column;
#pragma GCC unroll 2
    for (int j = 0; j < kColumns; ++j) {
      if (j >= columns) break;
      vec v = sums[i][j];
      if (residual) v += load(residual + column + j * kWidth);
      if (base) v = act.around(load(base + j * kWidth), v);
      store(to + j * kWidth, v);
    }
  }
}

template <class T>
void conv_chunk(const ConvArgs& a, Chunk<T>& k, int64_t pixels, const T* weights) {
  const int64_t taps = a.geometry.kernel_y * a.geometry.kernel_x;
  std::vector<const T*> shifted(taps * kRows);
  for (int64_t p = 0; p < a.panel_count; ++p) {
    const int64_t first = a.panels[3 * p], length = a.panels[3 * p + 1];
    const T* panel = weights + a.panels[3 * p + 2];
    const int64_t end = min64(a.channels_out, (p + 1) * kPanel);
    // the panel that comes next; the last is followed by the next chunk's first
    const int64_t next = p + 1 < a.panel_count ? p + 1 : 0;
    const int64_t bytes = taps * a.panels[3 * next + 1] * kPanel * static_cast<int64_t>(sizeof(T));
    const int64_t tiles = ceil_div(pixels, kRows), products = length * static_cast<int64_t>(sizeof(T)) / 4;
    for (int64_t at = 0; at < pixels; at += kRows) {
      const int64_t n = at / kRows, left = min64(kRows, pixels - at), live = k.live[n];
      const T* const* rows = k.rows.data() + n * taps * kRows;
      const int32_t* list = k.taps.data() + n * taps;
      if (p == 0 && taps == 1 &&
          at + kRows < pixels)  // rows are short and far apart, which hides them from prefetchers
        for (int64_t r = 0; r < kRows; ++r)
          for (int64_t c = 0; c < length; c += 64 / static_cast<int64_t>(sizeof(T)))
            __builtin_prefetch(rows[kRows + r] + c);
      if (first) {  // a group's channels begin here; the zeros are long enough for any panel
        for (int64_t r = 0; r < taps * kRows; ++r) shifted[r] = rows[r] + first;
        rows = shifted.data();
      }
      for (int64_t column = p * kPanel; column < end; column += kSpan) {
        // bf16 weights hold channels in pairs, two elements per column
        const T* w = panel + (column - p * kPanel) * static_cast<int64_t>(4 / sizeof(T));
        const Prefetch ahead(weights + a.panels[3 * next + 2], bytes, n, tiles, live * products);
        if (left > kRows / 2 + 1)
          tile<kRows>(a, k, at, left, rows, list, live, length, w, ahead, column);
        else if (left > (kRows + 2) / 4)
          tile<kRows / 2 + 1>(a, k, at, left, rows, list, live, length, w, ahead, column);
        else
          tile<(kRows + 2) / 4>(a, k, at, left, rows, list, live, length, w, ahead, column);
      }
    }
  }
}

template <class T>
void conv(const ConvArgs& a, Deltas<const T> in, Deltas<T> out, Deltas<const T> residual, const T* weights) {
  const PixelList list(a.masks, a.geometry, in.windows, out.windows);
  // Pixels per chunk: its rows stay in the cache while all panels pass over them. Small weights stay there as well, so
  // many passes over them cost little and a few rows, of one tap, are near when the next panel comes.
  const bool small = a.geometry.kernel_y * a.geometry.kernel_x == 1 &&
                     a.channels_in * a.channels_out * static_cast<int64_t>(sizeof(T)) <= 3 << 19;
  const int workers = a.threads > 0 ? a.threads : available_threads();
  const int64_t chunk = ceil_div(min64(small ? 56 : 336, max64(1, ceil_div(list.pixels(), workers))), kRows) * kRows;
  const std::vector<T> zeros(a.channels_in + kPanel, T{});
  each(ceil_div(list.pixels(), chunk), a.threads, [&](int64_t n) {
    thread_local Chunk<T> k;
    const int64_t begin = n * chunk, count = min64(chunk, list.pixels() - begin);
    gather_chunk(a, list, begin, count, in, out, residual, zeros.data(), k);
    conv_chunk(a, k, count, weights);
  });
}
