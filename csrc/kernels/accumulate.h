// Weighted sums of masks, sum_m weight[m] * mask_m, without ever making a mask: accumulation is linear, so each kind of
// edit has a shorter way.
//
//   windows      four corners per window, then a running sum along each axis
//   coalitions   keep^T weights per feature, then a lookup by label
//   soft grids   scatter the weights to (cell, shift) bins, about H W of them, then one sparse product per axis
//   full masks   the plain sum, in order
//
// The first three add in fixed point: each weight is rounded once, and integers may then be added in any order, by any
// number of threads and by atomics. What follows is float64 in a fixed order. So CPU and device give the same bits.
#pragma once
#include <cmath>

#include "kernels/occlude.h"

namespace xp {

// Weights are [N, M, K], results [N, K, H, W], both contiguous float64. A plane is one (n, k).
struct AccumulateArgs {
  const double* weights;
  double* out;
  int64_t items, edits, kinds, height, width;  // N, M, K, H, W
  XP_HD int64_t planes() const { return items * kinds; }
  XP_HD int64_t positions() const { return height * width; }
  XP_HD double weight(int64_t plane, int64_t m) const {
    return weights[(plane / kinds * edits + m) * kinds + plane % kinds];
  }
};

// ---- fixed point -----------------------------------------------------------------------------------------------

// |v| as an integer that orders like it, infinity and NaN above everything finite
XP_HD uint64_t magnitude(double v) {
  uint64_t bits;
  memcpy(&bits, &v, 8);
  return bits & 0x7fffffffffffffffull;
}
// The unit of a plane whose largest weight is `peak`: a power of two with edits * peak below 2^61 units.
struct FixedPoint {
  double scale, inverse;
  bool finite;
  XP_HD FixedPoint(uint64_t peak, int64_t edits) {
    int64_t room = 61, exponent = static_cast<int64_t>(peak >> 52) - 1022;
    while (edits > (int64_t{1} << (61 - room))) --room;
    exponent = min64(1022, room - max64(exponent, -1021));
    const uint64_t up = static_cast<uint64_t>(1023 + exponent) << 52, down = static_cast<uint64_t>(1023 - exponent)
                                                                             << 52;
    memcpy(&scale, &up, 8);
    memcpy(&inverse, &down, 8);
    finite = peak < 0x7ff0000000000000ull;
  }
  XP_HD int64_t units(double weight) const { return finite ? static_cast<int64_t>(rint(weight * scale)) : 0; }
  XP_HD double value(int64_t units) const {  // a plane with a weight that is not finite becomes NaN
    return finite ? static_cast<double>(units) * inverse : bits_float(0x7fc00000u);
  }
};

// ---- windows ---------------------------------------------------------------------------------------------------

// Adds where many threads of a device may add at once; integers, so that their order does not matter. On the CPU and on
// the simulator a sum belongs to one thread.
XP_HD void add_shared(int64_t* sum, int64_t units) {
#if defined(__CUDA_ARCH__)
  atomicAdd(reinterpret_cast<unsigned long long*>(sum), static_cast<unsigned long long>(units));
#else
  *sum += units;
#endif
}

// corners [H + 1, W + 1]
XP_HD void scatter_corners(const Window& w, int64_t height, int64_t width, int64_t units, int64_t* corners) {
  const int64_t y0 = min64(max64(w.y0, 0), height), y1 = min64(max64(w.y1, 0), height), pitch = width + 1;
  const int64_t x0 = min64(max64(w.x0, 0), width), x1 = min64(max64(w.x1, 0), width);
  if (y0 >= y1 || x0 >= x1) return;
  add_shared(corners + y0 * pitch + x0, units);
  add_shared(corners + y0 * pitch + x1, -units);
  add_shared(corners + y1 * pitch + x0, -units);
  add_shared(corners + y1 * pitch + x1, units);
}

// ---- soft grids ------------------------------------------------------------------------------------------------

// The share of a mask's square that a pair of neighbouring cells carries along one axis. With b the bilinear weight of
// the upper cell: mask = (1-b) c0 + b c1 needs `plain`; its square needs (1-b)^2, b^2 (`squares`) and 2 b (1-b)
// (`cross`).
enum class AxisPart { plain, squares, cross };

struct GridParts {
  AxisPart y, x;
  XP_HD bool cross_y() const { return y == AxisPart::cross; }
  XP_HD bool cross_x() const { return x == AxisPart::cross; }
  XP_HD double share() const { return cross_y() && cross_x() ? 0.5 : 1.0; }  // of one count
};
constexpr GridParts kPlainParts[] = {{AxisPart::plain, AxisPart::plain}};
constexpr GridParts kSquareParts[] = {{AxisPart::squares, AxisPart::squares},
                                      {AxisPart::squares, AxisPart::cross},
                                      {AxisPart::cross, AxisPart::squares},
                                      {AxisPart::cross, AxisPart::cross}};

// What cell (i, j) counts for a pair of axis parts: itself, or how many of its neighbour pairs are kept. kept(cell) is
// asked for cells of the grid alone.
template <class Kept>
XP_HD int cell_count(const GridGeometry& g, int32_t i, int32_t j, GridParts parts, const Kept& kept) {
  const bool below = i < g.y.last, beside = j < g.x.last;
  const int32_t cell = i * g.cols() + j, under = cell + g.cols();
  if (!parts.cross_y() && !parts.cross_x()) return kept(cell);
  if (!parts.cross_y()) return beside ? kept(cell) & kept(cell + 1) : 0;
  if (!parts.cross_x()) return below ? kept(cell) & kept(under) : 0;
  return below && beside ? (kept(cell) & kept(under + 1)) + (kept(cell + 1) & kept(under)) : 0;
}

// Bins [rows * size.y, cols * size.x]: cell (i, j) at shift (y, x) is (i * size.y + y, j * size.x + x).
struct GridBins {
  int64_t rows, cols;
  explicit GridBins(const GridGeometry& g) : rows(int64_t{g.rows()} * g.y.size), cols(int64_t{g.cols()} * g.x.size) {}
};

// What bins at `index` (`low`) and one cell further (`high`) add to a sum along an axis
XP_HD double axis_term(AxisPart part, double low, double high, double b) {
  switch (part) {
    case AxisPart::plain:
      return (1.0 - b) * low + b * high;
    case AxisPart::squares:
      return (1.0 - b) * (1.0 - b) * low + b * b * high;
    default:
      return 2.0 * (1.0 - b) * b * low;
  }
}

// ---- entry points ----------------------------------------------------------------------------------------------

void accumulate_windows_cpu(const AccumulateArgs& args, const WindowEdits& edits, int threads);
void accumulate_coalitions_cpu(const AccumulateArgs& args, const CoalitionEdits& edits, int threads);
void accumulate_grids_cpu(const AccumulateArgs& args, const GridEdits& edits, bool squared, int threads);
void accumulate_full_cpu(const AccumulateArgs& args, const FullEdits& edits, bool squared, int threads);

// On the device, with `workspace` of so many 8-byte words. A plane with a weight that is not finite becomes NaN.
int64_t accumulate_words(const AccumulateArgs& args, const WindowEdits& edits);
int64_t accumulate_words(const AccumulateArgs& args, const CoalitionEdits& edits);
int64_t accumulate_words(const AccumulateArgs& args, const GridEdits& edits);
int64_t accumulate_words(const AccumulateArgs& args, const FullEdits& edits);
void accumulate_device(const AccumulateArgs& args, const WindowEdits& edits, bool squared, void* workspace, int device,
                       uintptr_t stream);
void accumulate_device(const AccumulateArgs& args, const CoalitionEdits& edits, bool squared, void* workspace,
                       int device, uintptr_t stream);
void accumulate_device(const AccumulateArgs& args, const GridEdits& edits, bool squared, void* workspace, int device,
                       uintptr_t stream);
void accumulate_device(const AccumulateArgs& args, const FullEdits& edits, bool squared, void* workspace, int device,
                       uintptr_t stream);

}  // namespace xp
