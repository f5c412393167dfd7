// 3x3 convolution of ragged windows of deltas as Winograd's F(4x4, 3x3): 36 products per 16 outputs instead of 144.
// Tiles start at each window's own corner, so the bits of a mask do not depend on its neighbours.
// Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308; other points than theirs,
// as Barabasz et al. 2020, "Error analysis and improving the accuracy of Winograd convolution for deep neural
// networks", arXiv:1803.10986, recommend.
#include <memory>
#include <vector>

#include "kernels/delta.h"
#include "kernels/delta_schedule.h"

namespace xp::delta {

// The 4x4 outputs whose first is (y, x), clipped to the window.
struct Tile {
  int64_t mask, y, x;
};

// Elements from one tile's channels to the next's: rows a multiple of 1 KiB apart would share few sets of the cache.
constexpr int64_t spread(int64_t channels) { return channels % 256 == 0 ? channels + kLane : channels; }

}  // namespace xp::delta

#define XP_VARIANTS_OF "kernels/delta_winograd.inl"
#include "kernels/delta_variants.h"

namespace xp::delta {
namespace {

constexpr int64_t kScratch = 1 << 18;  // floats per thread: what fits into the second cache

void group(const ConvArgs& a, const Deltas<const float>& in, const Deltas<float>& out,
           const Deltas<const float>& residual, const Tile* tiles, int64_t count, const float* weights, float* inside,
           int64_t in_plane, float* outside, int64_t out_plane) {
#if XP_HAS_CLONES
  const int level = processor(a.processor);
  if (level >= 2)
    return avx512::winograd_group(a, in, out, residual, tiles, count, weights, inside, in_plane, outside, out_plane);
  if (level == 1)
    return avx2::winograd_group(a, in, out, residual, tiles, count, weights, inside, in_plane, outside, out_plane);
#endif
  portable::winograd_group(a, in, out, residual, tiles, count, weights, inside, in_plane, outside, out_plane);
}

}  // namespace

void winograd(const ConvArgs& a, Deltas<const float> in, Deltas<float> out, Deltas<const float> residual,
              const float* weights) {
  std::vector<Tile> tiles;
  for (int64_t m = 0; m < a.masks; ++m) {
    const Window& w = out.windows[m];
    if (w.empty()) continue;
    for (int64_t y = 0; y < w.h; y += 4)
      for (int64_t x = 0; x < w.w; x += 4) tiles.push_back(Tile{m, w.y + y, w.x + x});
  }
  const int64_t total = static_cast<int64_t>(tiles.size()), width = spread(a.panel_count * kPanel);
  const int64_t fit = kScratch / (36 * (a.channels_in + width)) / 14 * 14;
  // but wide layers need more tiles to share the weights, which come from further away than the scratch
  const int64_t share = a.channels_in * width / 2048;
  const int64_t most = ceil_div(max64(max64(42, fit), share), 14) * 14, groups = ceil_div(total, most);
  const int64_t per_group = groups ? ceil_div(ceil_div(total, groups), 14) * 14 : 0;
  // planes are a few cache lines apart, so that the 36 do not fall into the same sets
  const int64_t in_plane = per_group * spread(a.channels_in) + 80, out_plane = per_group * width + 80;
  each(groups ? ceil_div(total, per_group) : 0, a.threads, [&](int64_t g) {
    thread_local std::vector<float> scratch;
    const int64_t size = 36 * (in_plane + out_plane);
    if (static_cast<int64_t>(scratch.size()) < size + kLane) scratch.resize(size + kLane);
    float* inside = scratch.data();
    while (reinterpret_cast<uintptr_t>(inside) % 64) ++inside;  // vectors that straddle cache lines take twice as long
    const int64_t begin = g * per_group;
    group(a, in, out, residual, tiles.data() + begin, min64(per_group, total - begin), weights, inside, in_plane,
          inside + 36 * in_plane, out_plane);
  });
}

}  // namespace xp::delta
