// Depthwise convolution of ragged windows of deltas: one kernel per channel, so vectors run along the channels.
// A sum runs over taps in one order, in the inner pixels as in those at the rim, where missing taps would add zeros.
#include "kernels/delta_schedule.h"

#define XP_VARIANTS_OF "kernels/delta_depthwise.inl"
#include "kernels/delta_variants.h"

namespace xp::delta {

template <class T>
void depthwise(const ConvArgs& a, Deltas<const T> in, Deltas<T> out, Deltas<const T> residual, const float* weights) {
  const int level = processor(a.processor);
  each(a.masks, a.threads, [&](int64_t m) {
    if (out.windows[m].empty()) return;
#if XP_HAS_CLONES
    if (level >= 2) return avx512::depthwise_mask(a, m, in, out, residual, weights);
    if (level == 1) return avx2::depthwise_mask(a, m, in, out, residual, weights);
#endif
    portable::depthwise_mask(a, m, in, out, residual, weights);
  });
}

template void depthwise<float>(const ConvArgs&, Deltas<const float>, Deltas<float>, Deltas<const float>, const float*);
template void depthwise<bf16>(const ConvArgs&, Deltas<const bf16>, Deltas<bf16>, Deltas<const bf16>, const float*);

}  // namespace xp::delta
