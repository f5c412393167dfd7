// Pooling of ragged windows of deltas. A mean is linear, so it acts on deltas alone; a maximum needs the base around
// the window: max(base + delta) - max(base).
#include <vector>

#include "kernels/delta_schedule.h"

#define XP_VARIANTS_OF "kernels/delta_pool.inl"
#include "kernels/delta_variants.h"

namespace xp::delta {
namespace {

template <class T>
void max_pool(const PoolArgs& a, const Deltas<const T>& in, const Deltas<T>& out) {
  const int level = processor(3);
  const int64_t depth = (a.geometry.kernel_y - 1) * a.geometry.dilation_y + 1;
  each(a.masks, a.threads, [&](int64_t m) {
    thread_local std::vector<float> ring;
    thread_local std::vector<int64_t> owners;
    if (out.windows[m].empty()) return;
    ring.resize(depth * out.windows[m].w * a.channels);
    owners.resize(depth);
#if XP_HAS_CLONES
    if (level >= 2) return avx512::max_mask(a, m, in, out, ring.data(), owners.data());
    if (level == 1) return avx2::max_mask(a, m, in, out, ring.data(), owners.data());
#endif
    portable::max_mask(a, m, in, out, ring.data(), owners.data());
  });
}

template <class T>
void mean_pool(const PoolArgs& a, const Deltas<const T>& in, const Deltas<T>& out) {
  const int level = processor(3);
  each(a.masks, a.threads, [&](int64_t m) {
    if (out.windows[m].empty()) return;
#if XP_HAS_CLONES
    if (level >= 2) return avx512::mean_mask(a, m, in, out);
    if (level == 1) return avx2::mean_mask(a, m, in, out);
#endif
    portable::mean_mask(a, m, in, out);
  });
}

}  // namespace

template <class T>
void pool(const PoolArgs& a, Deltas<const T> in, Deltas<T> out) {
  if (a.pool == Pool::max)
    max_pool(a, in, out);
  else
    mean_pool(a, in, out);
}

template void pool<float>(const PoolArgs&, Deltas<const float>, Deltas<float>);
template void pool<bf16>(const PoolArgs&, Deltas<const bf16>, Deltas<bf16>);

}  // namespace xp::delta
