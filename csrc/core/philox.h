// Philox4x32-10: random numbers as a function of a counter and a key, so that any cut of the work into chunks, any
// number of threads and any device draw the same ones. Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2,
// 3".
#pragma once
#include "core/portable.h"

namespace xp {

struct Draw {
  uint32_t v[4];
};

XP_HD uint32_t mul_high(uint32_t a, uint32_t b) {
#if defined(__CUDA_ARCH__)
  return __umulhi(a, b);
#else
  return static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32);
#endif
}

XP_HD Draw philox(Draw counter, uint64_t key) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  Draw c = counter;
  XP_UNROLL
  for (int round = 0; round < 10; ++round) {
    const uint32_t h0 = mul_high(0xD2511F53u, c.v[0]), l0 = 0xD2511F53u * c.v[0];
    const uint32_t h1 = mul_high(0xCD9E8D57u, c.v[2]), l1 = 0xCD9E8D57u * c.v[2];
    c = Draw{{h1 ^ c.v[1] ^ k0, l1, h0 ^ c.v[3] ^ k1, l0}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

}  // namespace xp
