#include "kernels/least_squares.h"

#include "core/device.h"

namespace xp {
namespace {

struct WholeBlock {
  XP_D int64_t rank() const { return thread_x(); }
  XP_D int64_t size() const { return threads_x(); }
  XP_D void sync() const { sync_block(); }
};

struct CountPair {
  CountGram g;
  XP_D void operator()(int64_t t) const {
    const int64_t i = t / g.features, j = t % g.features;
    if (j < i) return;
    const uint64_t *a = g.columns + i * g.words, *b = g.columns + j * g.words;
    double sum = 0;
    for (int64_t q = 0; q < g.groups; ++q) {
      int64_t count = 0;
      for (int64_t e = g.begin[q]; e < g.begin[q + 1]; ++e) count += population(a[e] & b[e]);
      sum += g.weight[q] * static_cast<double>(count);
    }
    g.write(i, j, sum);
  }
};

struct PackWord {
  PackColumns p;
  XP_D void operator()(int64_t i) const {  // features fastest: neighbours read neighbouring bytes of a row
    const int64_t s = i % p.features, w = i / p.features;
    uint64_t word = 0;
    for (int64_t b = 0; b < 64; ++b)
      if (p.has(64 * w + b)) word |= p.bit(64 * w + b, s) << b;
    p.columns[s * p.words + w] = word;
  }
};

XP_KERNEL void XP_BOUNDS(256, 1) solve_kernel(SolveArgs a) { solve_one(WholeBlock{}, a, block_x()); }

}  // namespace

void pack_columns_device(const PackColumns& p, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  for_each("pack_columns", p.features * p.words, reinterpret_cast<Stream>(stream), PackWord{p});
}

void weighted_factors_device(const WeightedFactors& f, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  for_each("weighted_factors", (f.features + f.kinds) * f.rows, reinterpret_cast<Stream>(stream), f);
}

void widen_device(const WidenCopy& c, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  for_each("widen", c.shape[0] * c.shape[1] * c.shape[2], reinterpret_cast<Stream>(stream), c);
}

void count_gram_device(const CountGram& g, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  for_each("count_gram", g.features * g.features, reinterpret_cast<Stream>(stream), CountPair{g});
}

void solve_device(const SolveArgs& a, int device, uintptr_t stream) {
  if (a.batch == 0 || a.n == 0) return;
  const DeviceGuard guard(device);
  launch("solve", &solve_kernel, Dim3(static_cast<unsigned>(a.batch)), a.n > 64 ? 256 : 64, 0,
         reinterpret_cast<Stream>(stream), a);
}

}  // namespace xp
