// Sums of masks on the device: the integers of accumulate.h by atomics, whose order cannot matter, then float64 in the
// order of the CPU. No mask is stored; what is drawn for a mask is drawn where it is added.
#include "kernels/accumulate.h"

#include "core/check.h"
#include "core/device.h"

namespace xp {
namespace {

constexpr int kThreads = 128;

// ---- what all kinds share --------------------------------------------------------------------------------------

struct Clear {
  int64_t* sums;
  XP_D void operator()(int64_t i) const { sums[i] = 0; }
};

// One block per plane: the largest magnitude among its weights.
XP_KERNEL void XP_BOUNDS(kThreads, 4) peak_kernel(AccumulateArgs a, uint64_t* peaks) {
  XP_SHARED(uint64_t, largest);
  const unsigned t = thread_x();
  uint64_t own = 0;
  for (int64_t m = t; m < a.edits; m += kThreads) {
    const uint64_t v = magnitude(a.weight(block_x(), m));
    own = v > own ? v : own;
  }
  largest[t] = own;
  sync_block();
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (t < half && largest[t + half] > largest[t]) largest[t] = largest[t + half];
    sync_block();
  }
  if (t == 0) peaks[block_x()] = largest[0];
}

// The peaks of all planes, then `sums` int64 per plane, cleared.
struct Sums {
  AccumulateArgs a;
  uint64_t* peaks;
  int64_t* sums;
  int64_t per_plane;
  XP_D FixedPoint fixed(int64_t plane) const { return FixedPoint(peaks[plane], a.edits); }
  XP_D int64_t* of(int64_t plane) const { return sums + plane * per_plane; }
};
Sums start_sums(const AccumulateArgs& a, int64_t per_plane, void* workspace, Stream stream) {
  auto* words = static_cast<int64_t*>(workspace);
  const Sums s{a, reinterpret_cast<uint64_t*>(words), words + a.planes(), per_plane};
  launch("accumulate", &peak_kernel, Dim3(static_cast<unsigned>(a.planes())), kThreads, kThreads * 8, stream, a,
         s.peaks);
  for_each("accumulate", a.planes() * per_plane, stream, Clear{s.sums});
  return s;
}

bool nothing(const AccumulateArgs& a) {
  require(a.planes() < (int64_t{1} << 31), "accumulate", "there are more than 2**31 - 1 maps");
  return a.planes() == 0 || a.positions() == 0;
}

// ---- windows ---------------------------------------------------------------------------------------------------

struct AddWindow {
  Sums s;
  WindowEdits edits;
  XP_D void operator()(int64_t i) const {  // kinds fastest: neighbours read one window and neighbouring weights
    const AccumulateArgs& a = s.a;
    const int64_t k = i % a.kinds, m = i / a.kinds % a.edits, n = i / a.kinds / a.edits, plane = n * a.kinds + k;
    scatter_corners(edits.at(n, m), a.height, a.width, s.fixed(plane).units(a.weight(plane, m)), s.of(plane));
  }
};

// One block per row of corners: running sums along it. Each thread owns a stretch; totals are added up in between.
XP_KERNEL void XP_BOUNDS(kThreads, 4) row_sums_kernel(int64_t* rows, int64_t length) {
  XP_SHARED(int64_t, totals);
  const unsigned t = thread_x();
  const int64_t own = ceil_div(length, kThreads), begin = min64(t * own, length), end = min64(begin + own, length);
  int64_t* row = rows + block_x() * length;
  int64_t sum = 0;
  for (int64_t x = begin; x < end; ++x) sum += row[x];
  totals[t] = sum;
  sync_block();
  for (unsigned step = 1; step < kThreads; step *= 2) {
    const int64_t before = t >= step ? totals[t - step] : 0;
    sync_block();
    totals[t] += before;
    sync_block();
  }
  int64_t along = totals[t] - sum;
  for (int64_t x = begin; x < end; ++x) {
    along += row[x];
    row[x] = along;
  }
}

struct ColumnSum {
  Sums s;
  XP_D void operator()(int64_t i) const {
    const AccumulateArgs& a = s.a;
    const int64_t plane = i / a.width, x = i % a.width;
    const FixedPoint fixed = s.fixed(plane);
    const int64_t* rows = s.of(plane) + x;
    double* out = a.out + plane * a.positions() + x;
    int64_t above = 0;
    for (int64_t y = 0; y < a.height; ++y) {
      above += rows[y * (a.width + 1)];
      out[y * a.width] = fixed.value(above);
    }
  }
};

// ---- coalitions ------------------------------------------------------------------------------------------------

// A feature's sum over 32 edits, one bit each; the last feature stands for positions that are never hidden.
struct AddFeature {
  Sums s;
  CoalitionEdits edits;
  XP_D void operator()(int64_t i) const {
    const AccumulateArgs& a = s.a;
    const int64_t feature = i % s.per_plane, blocks = ceil_div(a.edits, 32);
    const int64_t block = i / s.per_plane % blocks, plane = i / s.per_plane / blocks;
    const uint32_t kept = edits.kept_word(plane / a.kinds, block, static_cast<int32_t>(feature));
    const FixedPoint fixed = s.fixed(plane);
    int64_t sum = 0;
    for (int64_t m = 32 * block; m < min64(a.edits, 32 * block + 32); ++m)
      if ((kept >> (m - 32 * block)) & 1u) sum += fixed.units(a.weight(plane, m));
    add_shared(s.of(plane) + feature, sum);
  }
};

struct LookUp {
  Sums s;
  CoalitionEdits edits;
  XP_D void operator()(int64_t i) const {
    const AccumulateArgs& a = s.a;
    const int64_t plane = i / a.positions(), p = i % a.positions();
    const uint32_t label = static_cast<uint32_t>(edits.label(plane / a.kinds, p / a.width, p % a.width));
    a.out[i] = s.fixed(plane).value(s.of(plane)[label < edits.features ? label : edits.features]);
  }
};

// ---- soft grids ------------------------------------------------------------------------------------------------

struct DrawnBit {
  const GridGeometry& g;
  int64_t m;
  XP_HD int operator()(int32_t cell) const { return grid_bit(g, m, cell); }
};

constexpr int64_t kPlanesPerThread = 8;  // that share what a thread draws

struct AddCell {
  Sums s;
  GridGeometry g;
  GridParts parts;
  XP_D void operator()(int64_t t) const {
    const AccumulateArgs& a = s.a;
    const int32_t cell = static_cast<int32_t>(t % g.cells()), i = cell / g.cols(), j = cell - i * g.cols();
    const int64_t m = t / g.cells() % a.edits, first = t / g.cells() / a.edits * kPlanesPerThread;
    const int count = cell_count(g, i, j, parts, DrawnBit{g, m});
    if (count == 0) return;
    const Shift shift = grid_shift(g, m);
    const int64_t cols = int64_t{g.cols()} * g.x.size;
    const int64_t bin = (int64_t{i} * g.y.size + shift.y) * cols + int64_t{j} * g.x.size + shift.x;
    for (int64_t plane = first; plane < min64(first + kPlanesPerThread, a.planes()); ++plane)
      add_shared(s.of(plane) + bin, count * s.fixed(plane).units(a.weight(plane, m)));
  }
};

// bins int64 [rows, cols] -> tall [H, cols]
struct ExpandRows {
  Sums s;
  GridAxis axis;
  GridParts parts;
  int64_t cols;
  double* tall;
  XP_D void operator()(int64_t i) const {
    const int64_t c = i % cols, t = i / cols % s.a.height, plane = i / cols / s.a.height;
    const FixedPoint fixed = s.fixed(plane);
    const double share = parts.share();
    double sum = 0;
    for (int32_t shift = 0; shift < axis.size; ++shift) {
      const Between at = between(axis, static_cast<int32_t>(t) + shift);
      const int64_t* here = s.of(plane) + (int64_t{at.index} * axis.size + shift) * cols + c;
      const int64_t* next = at.index < axis.last ? here + axis.size * cols : here;
      sum += axis_term(parts.y, fixed.value(*here) * share, fixed.value(*next) * share, at.share);
    }
    tall[i] = sum;
  }
};

// tall [H, cols] -> out [H, W]
struct ExpandColumns {
  AccumulateArgs a;
  GridAxis axis;
  AxisPart part;
  bool first;
  int64_t cols;
  const double* tall;
  XP_D void operator()(int64_t i) const {
    const int64_t t = i % a.width;
    const double* row = tall + i / a.width * cols;
    double sum = 0;
    for (int32_t shift = 0; shift < axis.size; ++shift) {
      const Between at = between(axis, static_cast<int32_t>(t) + shift);
      const double* here = row + int64_t{at.index} * axis.size + shift;
      sum += axis_term(part, *here, at.index < axis.last ? here[axis.size] : *here, at.share);
    }
    a.out[i] = (first ? 0.0 : a.out[i]) + sum;
  }
};

// ---- full masks ------------------------------------------------------------------------------------------------

struct AddFull {
  AccumulateArgs a;
  FullEdits edits;
  bool squared;
  XP_D void operator()(int64_t i) const {
    const int64_t plane = i / a.positions(), p = i % a.positions(), y = p / a.width, x = p % a.width;
    double sum = 0;
    for (int64_t m = 0; m < a.edits; ++m) {
      const double v = edits.value(plane / a.kinds, m, y, x);
      sum += a.weight(plane, m) * (squared ? v * v : v);
    }
    a.out[i] = sum;
  }
};

int64_t corners_of(const AccumulateArgs& a) { return (a.height + 1) * (a.width + 1); }

}  // namespace

int64_t accumulate_words(const AccumulateArgs& a, const WindowEdits&) { return a.planes() * (1 + corners_of(a)); }
int64_t accumulate_words(const AccumulateArgs& a, const CoalitionEdits& edits) {
  return a.planes() * (1 + int64_t{edits.features} + 1);
}
int64_t accumulate_words(const AccumulateArgs& a, const GridEdits& edits) {
  const GridBins bins(edits.grid);
  return a.planes() * (1 + bins.rows * bins.cols + a.height * bins.cols);
}
int64_t accumulate_words(const AccumulateArgs&, const FullEdits&) { return 0; }

void accumulate_device(const AccumulateArgs& a, const WindowEdits& edits, bool, void* workspace, int device,
                       uintptr_t stream_handle) {
  if (nothing(a)) return;
  const DeviceGuard guard(device);
  const auto stream = reinterpret_cast<Stream>(stream_handle);
  const Sums s = start_sums(a, corners_of(a), workspace, stream);
  for_each("accumulate_windows", a.planes() * a.edits, stream, AddWindow{s, edits});
  const int64_t rows = a.planes() * (a.height + 1);
  require(rows < (int64_t{1} << 31), "accumulate_windows", "there are more than 2**31 - 1 rows");
  launch("accumulate_windows", &row_sums_kernel, Dim3(static_cast<unsigned>(rows)), kThreads, kThreads * 8, stream,
         s.sums, a.width + 1);
  for_each("accumulate_windows", a.planes() * a.width, stream, ColumnSum{s});
}

void accumulate_device(const AccumulateArgs& a, const CoalitionEdits& edits, bool, void* workspace, int device,
                       uintptr_t stream_handle) {
  if (nothing(a)) return;
  const DeviceGuard guard(device);
  const auto stream = reinterpret_cast<Stream>(stream_handle);
  const Sums s = start_sums(a, int64_t{edits.features} + 1, workspace, stream);
  for_each("accumulate_coalitions", a.planes() * ceil_div(a.edits, 32) * s.per_plane, stream, AddFeature{s, edits});
  for_each("accumulate_coalitions", a.planes() * a.positions(), stream, LookUp{s, edits});
}

void accumulate_device(const AccumulateArgs& a, const GridEdits& edits, bool squared, void* workspace, int device,
                       uintptr_t stream_handle) {
  if (nothing(a)) return;
  const DeviceGuard guard(device);
  const auto stream = reinterpret_cast<Stream>(stream_handle);
  const GridGeometry& g = edits.grid;
  const GridBins bins(g);
  const int64_t groups = ceil_div(a.planes(), kPlanesPerThread);
  bool first = true;
  const auto add = [&](GridParts parts) {
    const Sums s = start_sums(a, bins.rows * bins.cols, workspace, stream);
    auto* tall = reinterpret_cast<double*>(s.sums + a.planes() * s.per_plane);
    for_each("accumulate_soft_grid", groups * a.edits * g.cells(), stream, AddCell{s, g, parts});
    for_each("accumulate_soft_grid", a.planes() * a.height * bins.cols, stream,
             ExpandRows{s, g.y, parts, bins.cols, tall});
    for_each("accumulate_soft_grid", a.planes() * a.positions(), stream,
             ExpandColumns{a, g.x, parts.x, first, bins.cols, tall});
    first = false;
  };
  if (!squared) return add(kPlainParts[0]);
  for (const GridParts& parts : kSquareParts) add(parts);
}

void accumulate_device(const AccumulateArgs& a, const FullEdits& edits, bool squared, void*, int device,
                       uintptr_t stream_handle) {
  if (nothing(a)) return;
  const DeviceGuard guard(device);
  for_each("accumulate_full", a.planes() * a.positions(), reinterpret_cast<Stream>(stream_handle),
           AddFull{a, edits, squared});
}

}  // namespace xp
