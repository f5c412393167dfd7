// What lets one kernel source be compiled by nvcc, by g++ for the CPU, and by g++ for the fiber simulator.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define XP_HD __host__ __device__ __forceinline__
#define XP_UNROLL _Pragma("unroll")
#define XP_UNROLL8 _Pragma("unroll 8")  // where unrolling all would spill
#else
#define XP_HD inline __attribute__((always_inline))
#define XP_UNROLL
#define XP_UNROLL8
#endif

// CPU loops are compiled three times and chosen at load time by what the processor can do. The sanitizers cannot
// instrument the resolver, which runs before they are set up, so their build has the plain version alone.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__) && !defined(XP_ONE_VARIANT)
#define XP_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), noinline, flatten))
#define XP_HAS_CLONES 1
#else
#define XP_CLONES
#define XP_HAS_CLONES 0
#endif

namespace xp {

XP_HD int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
XP_HD int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
XP_HD int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

XP_HD uint32_t float_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}
XP_HD float bits_float(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}

}  // namespace xp
