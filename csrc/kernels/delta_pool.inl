// One processor's pooling; see delta_pool.cpp.

// The greatest value under kernel columns of one input row, for all outputs of the row: to [w, channels].
template <class T>
XP_HD void line_max(const PoolArgs& a, int64_t m, int64_t py, const Deltas<const T>& in, const Window& o, float* to) {
  const Geometry& g = a.geometry;
  for (int64_t x = 0; x < o.w; ++x, to += a.channels) {
    const int64_t left = (o.x + x) * g.stride_x - g.pad_x;
    const float* bases[32];
    const T* deltas[32];
    int count = 0;
    for (int64_t k = 0; k < g.kernel_x; ++k) {
      const int64_t px = left + k * g.dilation_x;
      if (px < 0 || px >= a.in.width) continue;
      bases[count] = a.in.at(py, px);
      deltas[count++] = in.find(m, py, px);
    }
    for (int64_t c = 0; c < a.channels; c += kWidth) {
      vec most = vec{} - __builtin_inff();
      for (int k = 0; k < count; ++k) {
        vec v = load(bases[k] + c);
        if (deltas[k]) v += load(deltas[k] + c);
        most = most > v ? most : v;
      }
      store(to + c, most);
    }
  }
}

// Rows first, then columns: kernel_y + kernel_x comparisons rather than their product. A ring keeps the rows that the
// next output row needs again.
template <class T>
void max_mask(const PoolArgs& a, int64_t m, const Deltas<const T>& in, const Deltas<T>& out, float* ring,
              int64_t* owners) {
  const Geometry& g = a.geometry;
  const Window& o = out.windows[m];
  const int64_t depth = (g.kernel_y - 1) * g.dilation_y + 1, line = o.w * a.channels;
  for (int64_t k = 0; k < depth; ++k) owners[k] = -1;
  for (int64_t y = o.y; y < o.y + o.h; ++y) {
    const int64_t top = y * g.stride_y - g.pad_y;
    for (int64_t k = 0; k < g.kernel_y; ++k) {
      const int64_t py = top + k * g.dilation_y;
      if (py < 0 || py >= a.in.height || owners[py % depth] == py) continue;
      owners[py % depth] = py;
      line_max(a, m, py, in, o, ring + py % depth * line);
    }
    for (int64_t x = 0; x < o.w; ++x) {
      const float* base = a.out.at(y, o.x + x);
      T* to = out.at(m, y, o.x + x);
      for (int64_t c = 0; c < a.channels; c += kWidth) {
        vec best = vec{} - __builtin_inff();
        for (int64_t k = 0; k < g.kernel_y; ++k) {
          const int64_t py = top + k * g.dilation_y;
          if (py < 0 || py >= a.in.height) continue;
          const vec v = load(ring + py % depth * line + x * a.channels + c);
          best = best > v ? best : v;
        }
        store(to + c, best - load(base + c));
      }
    }
  }
}

// How many taps of one axis count in a mean: those inside the input, or inside the padded input.
XP_HD int64_t counted(int64_t first, int64_t kernel, int64_t dilation, int64_t low, int64_t high) {
  int64_t n = 0;
  for (int64_t k = 0; k < kernel; ++k) n += first + k * dilation >= low && first + k * dilation < high;
  return n;
}

template <class T>
void mean_mask(const PoolArgs& a, int64_t m, const Deltas<const T>& in, const Deltas<T>& out) {
  const Geometry& g = a.geometry;
  const Window& o = out.windows[m];
  const bool all = a.pool == Pool::mean_all;
  for (int64_t y = o.y; y < o.y + o.h; ++y)
    for (int64_t x = o.x; x < o.x + o.w; ++x) {
      const int64_t top = y * g.stride_y - g.pad_y, left = x * g.stride_x - g.pad_x;
      const int64_t rows =
          counted(top, g.kernel_y, g.dilation_y, all ? -g.pad_y : 0, a.in.height + (all ? a.pad_bottom : 0));
      const int64_t columns =
          counted(left, g.kernel_x, g.dilation_x, all ? -g.pad_x : 0, a.in.width + (all ? a.pad_right : 0));
      const float factor = 1.f / static_cast<float>(max64(1, rows * columns));
      T* to = out.at(m, y, x);
      for (int64_t c = 0; c < a.channels; c += kWidth) {
        vec sum{};
        for (int64_t ky = 0; ky < g.kernel_y; ++ky)
          for (int64_t kx = 0; kx < g.kernel_x; ++kx) {
            const T* from = in.find(m, top + ky * g.dilation_y, left + kx * g.dilation_x);
            if (from) sum += load(from + c);
          }
        store(to + c, sum * factor);
      }
    }
}
