// Element-wise functions of ragged windows of deltas, and the edit that begins it all.
#include <cmath>

#include "kernels/delta_schedule.h"

#define XP_VARIANTS_OF "kernels/delta_pointwise.inl"
#include "kernels/delta_variants.h"

#if XP_HAS_CLONES
#define XP_CALL(function, ...)                  \
  (level >= 2   ? avx512::function(__VA_ARGS__) \
   : level == 1 ? avx2::function(__VA_ARGS__)   \
                : portable::function(__VA_ARGS__))
#else
#define XP_CALL(function, ...) ((void)level, portable::function(__VA_ARGS__))
#endif

namespace xp::delta {

template <class T>
void unary(const UnaryArgs& a, Deltas<const T> in, Deltas<T> out) {
  const int level = processor(3);
  each(a.masks, a.threads, [&](int64_t m) { XP_CALL(unary_mask, a, m, in, out); });
}

template <class T>
void binary(const BinaryArgs& a, Deltas<const T> first, Deltas<const T> second, Deltas<T> out) {
  const int level = processor(3);
  each(a.masks, a.threads, [&](int64_t m) { XP_CALL(binary_mask, a, m, first, second, out); });
}

template <class T>
void scale(int64_t masks, int64_t channels, const float* factors, Deltas<const T> in, Deltas<T> out, int threads) {
  const int level = processor(3);
  each(masks, threads, [&](int64_t m) { XP_CALL(scale_mask, m, channels, factors, in, out); });
}

template <class T>
void enter(int64_t masks, int64_t channels, Base x, Base fill, Deltas<T> out, int threads) {
  const int level = processor(3);
  each(masks, threads, [&](int64_t m) { XP_CALL(enter_mask, m, channels, x, fill, out); });
}

#define XP_DEFINE(T)                                                                       \
  template void unary<T>(const UnaryArgs&, Deltas<const T>, Deltas<T>);                    \
  template void binary<T>(const BinaryArgs&, Deltas<const T>, Deltas<const T>, Deltas<T>); \
  template void scale<T>(int64_t, int64_t, const float*, Deltas<const T>, Deltas<T>, int); \
  template void enter<T>(int64_t, int64_t, Base, Base, Deltas<T>, int);
XP_DEFINE(float)
XP_DEFINE(bf16)
#undef XP_DEFINE

}  // namespace xp::delta
