// Weighted sums of masks, sum_m weight[m] * mask_m, without ever making a mask: accumulation is linear, so each kind of
// edit has a shorter way.
//
//   windows      four corners per window in fixed point, then a running sum along each axis
//   coalitions   keep^T weights per feature, then a lookup by label
//   soft grids   scatter the weights to (cell, shift) bins, about H W of them, then one sparse product per axis
//   full masks   the plain sum, in order
//
// Everything is float64 or integer and added in a fixed order, so threads change no bit.
#pragma once
#include "kernels/occlude.h"

namespace xp {

// Weights are [N, M, K], results [N, K, H, W], both contiguous float64.
struct AccumulateArgs {
  const double* weights;
  double* out;
  int64_t items, edits, kinds, height, width;  // N, M, K, H, W
};

// The share of a mask's square that a pair of neighbouring cells carries along one axis. With b the bilinear weight of
// the lower cell: mask = (1-b) c0 + b c1 needs `plain`; its square needs (1-b)^2, b^2 (`squares`) and 2 b (1-b)
// (`cross`).
enum class AxisPart { plain, squares, cross };

void accumulate_windows_cpu(const AccumulateArgs& args, const WindowEdits& edits, int threads);
void accumulate_coalitions_cpu(const AccumulateArgs& args, const CoalitionEdits& edits, int threads);
void accumulate_grids_cpu(const AccumulateArgs& args, const GridEdits& edits, bool squared, int threads);
void accumulate_full_cpu(const AccumulateArgs& args, const FullEdits& edits, bool squared, int threads);

}  // namespace xp
