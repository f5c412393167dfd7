// Moving ragged windows of deltas about: parts of concatenations, enlargements, and the way back to dense tensors.
#include <cstring>

#include "kernels/delta.h"
#include "kernels/delta_schedule.h"

namespace xp::delta {
namespace {

XP_CLONES void add_channels(double* sum, const float* v, int64_t n) {
  for (int64_t c = 0; c < n; ++c) sum[c] += static_cast<double>(v[c]);
}
XP_CLONES void add_channels(double* sum, const bf16* v, int64_t n) {
  for (int64_t c = 0; c < n; ++c) sum[c] += static_cast<double>(to_float(v[c]));
}

}  // namespace

template <class T>
void gather(int64_t masks, int64_t channels, const int64_t* rows, const int64_t* columns, Deltas<const T> in,
            Deltas<T> out, int threads) {
  each(masks, threads, [&](int64_t m) {
    const Window& o = out.windows[m];
    for (int64_t y = o.y; y < o.y + o.h; ++y)
      for (int64_t x = o.x; x < o.x + o.w; ++x) {
        const T* from = in.find(m, rows ? rows[y] : y, columns ? columns[x] : x);
        T* to = out.at(m, y, x);
        if (from)
          memcpy(to, from, channels * sizeof(T));
        else
          memset(to, 0, channels * sizeof(T));
      }
  });
}

template <class T>
void clear_rim(int64_t masks, int64_t channels, const Window* inner, Deltas<T> outer, int threads) {
  each(masks, threads, [&](int64_t m) {
    const Window& o = outer.windows[m];
    for (int64_t y = o.y; y < o.y + o.h; ++y)
      for (int64_t x = o.x; x < o.x + o.w; ++x)
        if (!inner[m].holds(y, x)) memset(outer.at(m, y, x), 0, channels * sizeof(T));
  });
}

template <class T>
void leave(int64_t masks, int64_t channels, Base base, Deltas<const T> in, float* out, int threads) {
  const int64_t plane = base.height * base.width;
  each(masks, threads, [&](int64_t m) {
    float* to = out + m * channels * plane;
    for (int64_t y = 0; y < base.height; ++y)
      for (int64_t x = 0; x < base.width; ++x, ++to) {
        const float* b = base.at(y, x);
        const T* d = in.find(m, y, x);
        for (int64_t c = 0; c < channels; ++c) to[c * plane] = d ? b[c] + to_float(d[c]) : b[c];
      }
  });
}

template <class T>
void plane_mean(int64_t masks, int64_t channels, const float* base, float factor, Deltas<const T> in, float* out,
                int threads) {
  each(masks, threads, [&](int64_t m) {
    std::vector<double> sum(channels);
    const Window& w = in.windows[m];
    for (int64_t y = w.y; y < w.y + w.h; ++y)
      for (int64_t x = w.x; x < w.x + w.w; ++x) add_channels(sum.data(), in.at(m, y, x), channels);
    for (int64_t c = 0; c < channels; ++c)
      out[m * channels + c] = static_cast<float>(static_cast<double>(base[c]) + static_cast<double>(factor) * sum[c]);
  });
}

void channels_last(int64_t channels, int64_t height, int64_t width, int64_t step, const float* in, float* out) {
  constexpr int64_t tile = 16;
  const int64_t plane = height * width;
  for (int64_t p0 = 0; p0 < plane; p0 += tile)
    for (int64_t c0 = 0; c0 < step; c0 += tile)
      for (int64_t p = p0; p < min64(plane, p0 + tile); ++p)
        for (int64_t c = c0; c < min64(step, c0 + tile); ++c)
          out[p * step + c] = c < channels ? in[c * plane + p] : 0.f;
}

#define XP_DEFINE(T)                                                                                          \
  template void gather<T>(int64_t, int64_t, const int64_t*, const int64_t*, Deltas<const T>, Deltas<T>, int); \
  template void clear_rim<T>(int64_t, int64_t, const Window*, Deltas<T>, int);                                \
  template void leave<T>(int64_t, int64_t, Base, Deltas<const T>, float*, int);                               \
  template void plane_mean<T>(int64_t, int64_t, const float*, float, Deltas<const T>, float*, int);
XP_DEFINE(float)
XP_DEFINE(bf16)
#undef XP_DEFINE

}  // namespace xp::delta
