// Places of values in descending order: rank 0 is the largest. Ties go to the lower index, -0 equals +0, NaN comes last
// (again by index), so the order is one and the same everywhere.
#pragma once
#include "core/portable.h"

namespace xp {

// ascending keys are descending values
XP_HD uint32_t rank_key(float v) {
  if (v != v) return 0xffffffffu;
  const uint32_t bits = float_bits(v == 0.f ? 0.f : v);
  return ~(bits ^ ((bits >> 31) ? 0xffffffffu : 0x80000000u));
}

struct RankArgs {
  const float* values;  // [N, P]
  int32_t* rank;        // [N, P]
  uint32_t* workspace;  // [N, 4, P], for the device alone
  int64_t items, positions;
};

void rank_cpu(const RankArgs& args, int threads);
void rank_device(const RankArgs& args, int device, uintptr_t stream);

}  // namespace xp
