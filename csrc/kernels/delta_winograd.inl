// One processor's Winograd convolution; see delta_winograd.cpp.

// The points at which Winograd evaluates: 0, +-kNear, +-kFar, infinity; weights.py has the same. Their powers are
// exact.
constexpr float kNear = 5.f / 8, kFar = 3.f / 2;
constexpr float kNear2 = kNear * kNear, kFar2 = kFar * kFar, kNear3 = kNear * kNear2, kFar3 = kFar * kFar2;

// One axis of the input transform, Bᵀ d, of six values `s` apart.
XP_HD void bend_in(const vec* d, int s, vec* o, int t) {
  const vec d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s], d5 = d[5 * s];
  o[0] = kNear2 * kFar2 * d0 - (kNear2 + kFar2) * d2 + d4;
  const vec a = d4 - kFar2 * d2, b = d3 - kFar2 * d1;
  o[t] = a + kNear * b;
  o[2 * t] = a - kNear * b;
  const vec c = d4 - kNear2 * d2, e = d3 - kNear2 * d1;
  o[3 * t] = c + kFar * e;
  o[4 * t] = c - kFar * e;
  o[5 * t] = kNear2 * kFar2 * d1 - (kNear2 + kFar2) * d3 + d5;
}
// One axis of the output transform, Aᵀ m.
XP_HD void bend_out(const vec* m, int s, vec* o, int t) {
  const vec p = m[s] + m[2 * s], q = m[s] - m[2 * s], r = m[3 * s] + m[4 * s], u = m[3 * s] - m[4 * s];
  o[0] = m[0] + p + r;
  o[t] = kNear * q + kFar * u;
  o[2 * t] = kNear2 * p + kFar2 * r;
  o[3 * t] = kNear3 * q + kFar3 * u + m[5 * s];
}

inline void tiles_in(const ConvArgs& a, const Deltas<const float>& in, const Tile* tiles, int64_t count, float* to,
                     int64_t plane) {
  const int64_t channels = a.channels_in, pitch = spread(channels);
  for (int64_t n = 0; n < count; ++n) {
    const Window& w = in.windows[tiles[n].mask];
    const int64_t y = tiles[n].y - a.geometry.pad_y - w.y, x = tiles[n].x - a.geometry.pad_x - w.x;
    const float* rows[36];
    for (int64_t i = 0; i < 36; ++i) {
      const int64_t py = y + i / 6, px = x + i % 6;
      const bool inside = py >= 0 && py < w.h && px >= 0 && px < w.w;
      rows[i] = inside ? in.data + w.offset + py * w.pitch + px * in.step : nullptr;
    }
    for (int64_t c = 0; c < channels; c += kWidth) {
      vec d[36], e[36];
      for (int i = 0; i < 36; ++i) d[i] = rows[i] ? load(rows[i] + c) : vec{};
      for (int i = 0; i < 6; ++i) bend_in(d + i, 6, e + i, 6);
      for (int i = 0; i < 6; ++i) bend_in(e + 6 * i, 1, d + 6 * i, 1);
      for (int i = 0; i < 36; ++i) store(to + i * plane + n * pitch + c, d[i]);
    }
  }
}

inline void tiles_out(const ConvArgs& a, const Deltas<float>& out, const Deltas<const float>& residual,
                      const Tile* tiles, int64_t count, const float* from, int64_t plane, int64_t width) {
  const Activator act(a.act);
  for (int64_t n = 0; n < count; ++n) {
    const Tile& t = tiles[n];
    const Window& w = out.windows[t.mask];
    const int64_t h4 = min64(4, w.y + w.h - t.y), w4 = min64(4, w.x + w.w - t.x);
    for (int64_t c = 0; c < a.channels_out; c += kWidth) {
      vec d[36], e[24], r[16];
      for (int i = 0; i < 36; ++i) d[i] = load(from + i * plane + n * width + c);
      for (int i = 0; i < 6; ++i) bend_out(d + i, 6, e + i, 6);
      for (int i = 0; i < 4; ++i) bend_out(e + 6 * i, 1, r + 4 * i, 1);
      for (int64_t y = 0; y < h4; ++y)
        for (int64_t x = 0; x < w4; ++x) {
          vec v = r[4 * y + x];
          const float* also = residual.find(t.mask, t.y + y, t.x + x);
          if (also) v += load(also + c);
          if (!act.none()) v = act.around(load(a.base.at(t.y + y, t.x + x) + c), v);
          store(out.at(t.mask, t.y + y, t.x + x) + c, v);
        }
    }
  }
}

// R tiles, of which `left` are true, by one panel of one frequency
template <int R>
XP_HD void product(const float* const* rows, int64_t channels, const float* weights, Prefetch ahead, int64_t left,
                   float* out, int64_t width) {
  const int32_t first = 0;
  vec sums[R][kColumns];
  multiply<R>(rows, &first, 1, channels, weights, ahead, sums);
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
    if (i >= left) break;
    store(out + i * width, sums[i][0]);
    store(out + i * width + kWidth, sums[i][1]);
  }
}

// [tiles, channels in] x [channels in, channels out] for one of the 36 frequencies; `next` is the next one's input
inline void frequency(const ConvArgs& a, int64_t count, const float* in, const float* next, const float* weights,
                      float* out, int64_t width) {
  const int64_t pitch = spread(a.channels_in), tiles = ceil_div(count, kRows), size = a.channels_in * kPanel;
  // while most tiles go over a panel, the panel after it is asked for (after the last, the next frequency's first),
  // while the others do, a part of the next frequency's input
  const int64_t most = tiles < 4 ? tiles : tiles - tiles / 4, part = 4 * count * pitch / a.panel_count;
  const float* rows[kRows];
  for (int64_t p = 0; p < a.panel_count; ++p)
    for (int64_t n = 0; n < tiles; ++n) {
      const int64_t at = n * kRows, left = min64(kRows, count - at);
      for (int64_t i = 0; i < kRows; ++i) rows[i] = in + (at + (i < left ? i : 0)) * pitch;
      const float* panel = weights + p * size;
      const Prefetch ahead = n < most ? Prefetch(panel + size, 4 * size, n, most, a.channels_in)
                                   : Prefetch(next + p * part / 4, part, n - most, tiles - most, a.channels_in);
      for (int64_t column = 0; column < kPanel; column += kSpan) {
        float* to = out + at * width + p * kPanel + column;
        if (left > kRows / 2 + 1)
          product<kRows>(rows, a.channels_in, panel + column, ahead, left, to, width);
        else if (left > (kRows + 2) / 4)
          product<kRows / 2 + 1>(rows, a.channels_in, panel + column, ahead, left, to, width);
        else
          product<(kRows + 2) / 4>(rows, a.channels_in, panel + column, ahead, left, to, width);
      }
    }
}

inline void winograd_group(const ConvArgs& a, const Deltas<const float>& in, const Deltas<float>& out,
                           const Deltas<const float>& residual, const Tile* tiles, int64_t count, const float* weights,
                           float* inside, int64_t in_plane, float* outside, int64_t out_plane) {
  const int64_t width = a.panel_count * kPanel, pitch = spread(width);
  tiles_in(a, in, tiles, count, inside, in_plane);
  for (int64_t f = 0; f < 36; ++f)
    frequency(a, count, inside + f * in_plane, inside + (f + 1) * in_plane, weights + f * width * a.channels_in,
              outside + f * out_plane, pitch);
  tiles_out(a, out, residual, tiles, count, outside, out_plane, pitch);
}
