// Convolution of ragged windows of deltas: an indirect GEMM over the pixels of all masks, [pixels, taps x channels] x
// [taps x channels, channels out], whose rows are pointers into the windows. Pixels are sorted by the taps that reach
// into their window and tiles skip the others. A sum runs over taps and channels in one order whatever the tile, and a
// skipped tap would have added zeros: the bits of a mask do not depend on its neighbours.
#include "kernels/delta_pixels.h"
#include "kernels/delta_schedule.h"

#define XP_VARIANTS_OF "kernels/delta_conv.inl"
#define XP_VARIANTS_WITH_BF16
#include "kernels/delta_variants.h"

namespace xp::delta {

template <class T>
void conv(const ConvArgs& a, Deltas<const T> in, Deltas<T> out, Deltas<const T> residual, const T* weights) {
#if XP_HAS_CLONES
  const int level = processor(a.processor);
  if (level == 3 && sizeof(T) == 2) return avx512bf16::conv(a, in, out, residual, weights);
  if (level >= 2) return avx512::conv(a, in, out, residual, weights);
  if (level == 1) return avx2::conv(a, in, out, residual, weights);
#endif
  portable::conv(a, in, out, residual, weights);
}

bool pairs_pay() {
#if XP_HAS_CLONES
  return processor(3) == 3 && __builtin_cpu_is("amd");
#else
  return false;
#endif
}

template void conv<float>(const ConvArgs&, Deltas<const float>, Deltas<float>, Deltas<const float>, const float*);
template void conv<bf16>(const ConvArgs&, Deltas<const bf16>, Deltas<bf16>, Deltas<const bf16>, const bf16*);

}  // namespace xp::delta
