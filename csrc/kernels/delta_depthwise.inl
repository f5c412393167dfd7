// One processor's depthwise convolution; see delta_depthwise.cpp.

template <class T>
XP_HD void finish(const Activator& act, vec v, const T* residual, const float* base, T* to) {
  if (residual) v += load(residual);
  if (base) v = act.around(load(base), v);
  store(to, v);
}

// Pixels first..last of one row, whose taps all lie inside the window: weights stay in registers along the row.
template <int K, int S, class T>
XP_HD void inner(const ConvArgs& a, int64_t m, int64_t y, int64_t first, int64_t last, const Deltas<const T>& in,
                 const Deltas<T>& out, const Deltas<const T>& residual, const float* weights) {
  const Geometry& g = a.geometry;
  const int64_t channels = a.channels_out, pitch = in.windows[m].pitch, step = in.step;
  const T* from = in.at(m, y * S - g.pad_y, first * S - g.pad_x);
  T* const to = out.at(m, y, first);
  const Activator act(a.act);
  const float* const base = act.none() ? nullptr : a.base.at(y, first);
  for (int64_t c = 0; c < channels; c += kWidth) {
    vec w[K * K];
#pragma GCC unroll 25
    for (int k = 0; k < K * K; ++k) w[k] = load(weights + k * channels + c);
    for (int64_t x = 0; x < last - first; ++x) {
      const T* p = from + x * S * step + c;
      vec sum{};
#pragma GCC unroll 5
      for (int ky = 0; ky < K; ++ky)
#pragma GCC unroll 5
        for (int kx = 0; kx < K; ++kx) sum += w[ky * K + kx] * load(p + ky * pitch + kx * step);
      const T* also = residual.find(m, y, first + x);
      finish(act, sum, also ? also + c : nullptr, base ? base + x * a.base.step + c : nullptr, to + x * out.step + c);
    }
  }
}

// Any pixel of any kernel; taps outside the window are left out.
template <class T>
void outer(const ConvArgs& a, int64_t m, int64_t y, int64_t x, const Deltas<const T>& in, const Deltas<T>& out,
           const Deltas<const T>& residual, const float* weights) {
  const Geometry& g = a.geometry;
  const Activator act(a.act);
  const T* also = residual.find(m, y, x);
  const float* base = act.none() ? nullptr : a.base.at(y, x);
  T* to = out.at(m, y, x);
  const T* taps[32 * 32];
  const float* factors[32 * 32];
  int64_t live = 0;
  for (int64_t ky = 0; ky < g.kernel_y; ++ky)
    for (int64_t kx = 0; kx < g.kernel_x; ++kx) {
      const T* from =
          in.find(m, y * g.stride_y - g.pad_y + ky * g.dilation_y, x * g.stride_x - g.pad_x + kx * g.dilation_x);
      if (!from) continue;
      taps[live] = from;
      factors[live++] = weights + (ky * g.kernel_x + kx) * a.channels_out;
    }
  for (int64_t c = 0; c < a.channels_out; c += kWidth) {
    vec sum{};
    for (int64_t t = 0; t < live; ++t) sum += load(factors[t] + c) * load(taps[t] + c);
    finish(act, sum, also ? also + c : nullptr, base ? base + c : nullptr, to + c);
  }
}

template <int K, int S, class T>
XP_HD void row(const ConvArgs& a, int64_t m, int64_t y, const Deltas<const T>& in, const Deltas<T>& out,
               const Deltas<const T>& residual, const float* weights) {
  const Geometry& g = a.geometry;
  const Window &i = in.windows[m], &o = out.windows[m];
  const int64_t top = y * S - g.pad_y, end = o.x + o.w;
  const bool whole = top >= i.y && top + K <= i.y + i.h && i.w >= K;
  const int64_t first = whole ? min64(end, max64(o.x, ceil_div(i.x + g.pad_x, S))) : end;
  const int64_t last = whole ? max64(first, min64(end, (i.x + i.w - K + g.pad_x) / S + 1)) : end;
  for (int64_t x = o.x; x < first; ++x) outer(a, m, y, x, in, out, residual, weights);
  if (first < last) inner<K, S>(a, m, y, first, last, in, out, residual, weights);
  for (int64_t x = last; x < end; ++x) outer(a, m, y, x, in, out, residual, weights);
}

template <class T>
void depthwise_mask(const ConvArgs& a, int64_t m, const Deltas<const T>& in, const Deltas<T>& out,
                    const Deltas<const T>& residual, const float* weights) {
  const Geometry& g = a.geometry;
  const Window& o = out.windows[m];
  const bool plain = g.dilation_y == 1 && g.dilation_x == 1 && g.kernel_y == g.kernel_x && g.stride_y == g.stride_x;
  const int64_t kind = plain ? 10 * g.kernel_x + g.stride_x : 0;
  for (int64_t y = o.y; y < o.y + o.h; ++y) {
    if (kind == 31) {
      row<3, 1>(a, m, y, in, out, residual, weights);
    } else if (kind == 32) {
      row<3, 2>(a, m, y, in, out, residual, weights);
    } else if (kind == 51) {
      row<5, 1>(a, m, y, in, out, residual, weights);
    } else if (kind == 52) {
      row<5, 2>(a, m, y, in, out, residual, weights);
    } else {
      for (int64_t x = o.x; x < o.x + o.w; ++x) outer(a, m, y, x, in, out, residual, weights);
    }
  }
}
