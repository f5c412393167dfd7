// Compiles the file XP_VARIANTS_OF once per kind of processor, each in a namespace of its own; `processor` says which
// to call. The compiler's own function cloning cannot do this: tiles of registers differ in shape.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/delta.h"

namespace xp::delta {

#define XP_WIDTH 4
#define XP_ROWS 4
namespace portable {
#include "kernels/delta_simd.inl"
#include XP_VARIANTS_OF
}  // namespace portable
#undef XP_WIDTH
#undef XP_ROWS

#if XP_HAS_CLONES
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#define XP_WIDTH 8
#define XP_ROWS 6
namespace avx2 {
#include "kernels/delta_simd.inl"
#include XP_VARIANTS_OF
}  // namespace avx2
#undef XP_WIDTH
#undef XP_ROWS
#pragma GCC pop_options

#define XP_WIDTH 16
#define XP_ROWS 14
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
namespace avx512 {
#include "kernels/delta_simd.inl"
#include XP_VARIANTS_OF
}  // namespace avx512
#pragma GCC pop_options

#if defined(XP_VARIANTS_WITH_BF16)
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512bf16")
#define XP_PAIR_PRODUCTS
namespace avx512bf16 {
#include "kernels/delta_simd.inl"
#include XP_VARIANTS_OF
}  // namespace avx512bf16
#undef XP_PAIR_PRODUCTS
#pragma GCC pop_options
#endif
#undef XP_WIDTH
#undef XP_ROWS
#endif

// The best variant that this processor runs, at most `most` (0 portable, 1 avx2, 2 avx512, 3 avx512bf16).
inline int processor(int most) {
  int best = 0;
#if XP_HAS_CLONES
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = 1;
  if (best == 1 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd"))
    best = __builtin_cpu_supports("avx512bf16") ? 3 : 2;
#endif
  return most < best ? most : best;
}

}  // namespace xp::delta
