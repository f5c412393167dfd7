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

XP_KERNEL void XP_BOUNDS(256, 1) solve_kernel(SolveArgs a) { solve_one(WholeBlock{}, a, block_x()); }

}  // namespace

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
