// One block per item, radix sort from the lowest four bits. Each thread owns a stretch of the sequence; counting by
// digit first and by thread second makes every pass stable without atomics.
#include "kernels/rank.h"

#include "core/device.h"

namespace xp {
namespace {

constexpr int kThreads = 256, kDigits = 16, kPasses = 8;
constexpr int kShared = (kDigits * kThreads + kThreads) * 4;

// exclusive running sum over counts [kDigits * kThreads], with totals [kThreads] as scratch
XP_D void scan(uint32_t* counts, uint32_t* totals) {
  const unsigned t = thread_x();
  uint32_t own = 0;
  for (int k = 0; k < kDigits; ++k) own += counts[t * kDigits + k];
  totals[t] = own;
  sync_block();
  for (unsigned step = 1; step < kThreads; step *= 2) {
    const uint32_t before = t >= step ? totals[t - step] : 0u;
    sync_block();
    totals[t] += before;
    sync_block();
  }
  uint32_t sum = totals[t] - own;
  for (int k = 0; k < kDigits; ++k) {
    const uint32_t here = counts[t * kDigits + k];
    counts[t * kDigits + k] = sum;
    sum += here;
  }
  sync_block();
}

XP_KERNEL void XP_BOUNDS(kThreads, 2) rank_kernel(RankArgs a) {
  XP_SHARED(uint32_t, counts);
  uint32_t* totals = counts + kDigits * kThreads;
  const unsigned t = thread_x();
  const int64_t p = a.positions, n = block_x(), own = ceil_div(p, kThreads);
  const int64_t begin = min64(t * own, p), end = min64(begin + own, p);
  uint32_t *keys = a.workspace + n * 4 * p, *order = keys + p, *next_keys = order + p, *next_order = next_keys + p;
  for (int64_t i = begin; i < end; ++i) {
    keys[i] = rank_key(a.values[n * p + i]);
    order[i] = static_cast<uint32_t>(i);
  }
  for (int pass = 0; pass < kPasses; ++pass) {
    for (int d = 0; d < kDigits; ++d) counts[d * kThreads + t] = 0;
    for (int64_t i = begin; i < end; ++i) ++counts[((keys[i] >> (4 * pass)) & 15u) * kThreads + t];
    sync_block();
    scan(counts, totals);
    for (int64_t i = begin; i < end; ++i) {
      const uint32_t place = counts[((keys[i] >> (4 * pass)) & 15u) * kThreads + t]++;
      next_keys[place] = keys[i];
      next_order[place] = order[i];
    }
    sync_block();
    uint32_t* swapped = keys;
    keys = next_keys;
    next_keys = swapped;
    swapped = order;
    order = next_order;
    next_order = swapped;
  }
  for (int64_t i = begin; i < end; ++i) a.rank[n * p + order[i]] = static_cast<int32_t>(i);
}

}  // namespace

void rank_device(const RankArgs& a, int device, uintptr_t stream) {
  if (a.items == 0 || a.positions == 0) return;
  const DeviceGuard guard(device);
  launch("rank", &rank_kernel, Dim3(static_cast<unsigned>(a.items)), kThreads, kShared,
         reinterpret_cast<Stream>(stream), a);
}

}  // namespace xp
