#include "kernels/accumulate.h"

#include <vector>

#include "core/check.h"
#include "core/parallel_for.h"

namespace xp {
namespace {

XP_CLONES void add_scaled(double* to, const double* from, double a, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += a * from[i];
}
XP_CLONES void add_scaled_pair(double* to, const double* low, double a, const double* high, double b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += a * low[i] + b * high[i];
}
XP_CLONES void add_kept(int64_t* to, const uint8_t* keep, int64_t step, int64_t w, int64_t n) {
  if (step == 1)
    for (int64_t i = 0; i < n; ++i) to[i] += keep[i] ? w : 0;
  else
    for (int64_t i = 0; i < n; ++i) to[i] += keep[i * step] ? w : 0;
}
XP_CLONES void add_mask(double* to, const float* mask, int64_t step, double w, bool squared, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const double v = mask[i * step];
    to[i] += w * (squared ? v * v : v);
  }
}

// [rows, cols] -> [cols, rows], in tiles that stay in the first cache
void transpose(const double* from, double* to, int64_t rows, int64_t cols) {
  constexpr int64_t tile = 16;
  for (int64_t r0 = 0; r0 < rows; r0 += tile)
    for (int64_t c0 = 0; c0 < cols; c0 += tile)
      for (int64_t c = c0; c < min64(cols, c0 + tile); ++c)
        for (int64_t r = r0; r < min64(rows, r0 + tile); ++r) to[c * rows + r] = from[r * cols + c];
}

FixedPoint fixed_point(const AccumulateArgs& a, int64_t plane) {
  uint64_t peak = 0;
  for (int64_t m = 0; m < a.edits; ++m) {
    const uint64_t v = magnitude(a.weight(plane, m));
    peak = v > peak ? v : peak;
  }
  const FixedPoint fixed(peak, a.edits);
  require(fixed.finite, "accumulate", "weights must be finite");
  return fixed;
}

void accumulate_windows(const AccumulateArgs& a, const WindowEdits& edits, int64_t plane) {
  const int64_t pitch = a.width + 1;
  std::vector<int64_t> corners((a.height + 1) * pitch);
  const FixedPoint fixed = fixed_point(a, plane);
  for (int64_t m = 0; m < a.edits; ++m)
    scatter_corners(edits.at(plane / a.kinds, m), a.height, a.width, fixed.units(a.weight(plane, m)), corners.data());
  double* out = a.out + plane * a.positions();
  std::vector<int64_t> above(a.width);
  for (int64_t y = 0; y < a.height; ++y) {
    int64_t along = 0;
    for (int64_t x = 0; x < a.width; ++x) {
      along += corners[y * pitch + x];
      above[x] += along;
      out[y * a.width + x] = fixed.value(above[x]);
    }
  }
}

void accumulate_coalitions(const AccumulateArgs& a, const CoalitionEdits& edits, int64_t plane) {
  const int64_t n = plane / a.kinds;
  std::vector<int64_t> per_feature(edits.features);
  const FixedPoint fixed = fixed_point(a, plane);
  int64_t total = 0;  // what a position that is never hidden gets
  for (int64_t m = 0; m < a.edits; ++m) {
    const int64_t w = fixed.units(a.weight(plane, m));
    total += w;
    if (edits.keep)
      add_kept(per_feature.data(), edits.keep + n * edits.keep_item + m * edits.keep_edit, edits.keep_feature, w,
               edits.features);
    else
      for (uint32_t s = 0; s < edits.features; ++s) per_feature[s] += edits.kept(n, m, static_cast<int32_t>(s)) ? w : 0;
  }
  double* out = a.out + plane * a.positions();
  for (int64_t y = 0; y < a.height; ++y)
    for (int64_t x = 0; x < a.width; ++x) {
      const uint32_t label = static_cast<uint32_t>(edits.label(n, y, x));
      out[y * a.width + x] = fixed.value(label < edits.features ? per_feature[label] : total);
    }
}

// bins [grid * size, n] -> out [extent, n]: out[t] += sum over shifts s of the cells around t + s, each with its weight
void expand_axis(const double* bins, double* out, const GridAxis& axis, int64_t extent, int64_t n, AxisPart part) {
  for (int64_t t = 0; t < extent; ++t)
    for (int32_t s = 0; s < axis.size; ++s) {
      const Between at = between(axis, static_cast<int32_t>(t) + s);
      const double high = at.share, low = 1.0 - high;
      const double* here = bins + (static_cast<int64_t>(at.index) * axis.size + s) * n;
      const double* next = at.index < axis.last ? here + axis.size * n : here;
      switch (part) {
        case AxisPart::plain:
          add_scaled_pair(out + t * n, here, low, next, high, n);
          break;
        case AxisPart::squares:
          add_scaled_pair(out + t * n, here, low * low, next, high * high, n);
          break;
        case AxisPart::cross:
          add_scaled(out + t * n, here, 2.0 * low * high, n);
          break;
      }
    }
}

struct GridMasks {
  std::vector<uint32_t> words;
  std::vector<Shift> shifts;
  GridMasks(const GridGeometry& g, int64_t edits, int threads) : words(edits * g.words()), shifts(edits) {
    parallel_for(edits, 1024, threads, [&](int64_t begin, int64_t end) {
      for (int64_t m = begin; m < end; ++m) {
        shifts[m] = grid_shift(g, m);
        for (int32_t w = 0; w < g.words(); ++w) words[m * g.words() + w] = grid_word(g, m, w);
      }
    });
  }
};

struct WordBit {
  const uint32_t* words;
  int operator()(int32_t cell) const { return static_cast<int>((words[cell >> 5] >> (cell & 31)) & 1u); }
};

void accumulate_grid(const AccumulateArgs& a, const GridGeometry& g, const GridMasks& masks, int64_t plane,
                     GridParts parts) {
  const GridBins size(g);
  const FixedPoint fixed = fixed_point(a, plane);
  std::vector<int64_t> counts(size.rows * size.cols);
  for (int64_t m = 0; m < a.edits; ++m) {
    const int64_t w = fixed.units(a.weight(plane, m));
    const Shift shift = masks.shifts[m];
    int64_t* shifted = counts.data() + shift.y * size.cols + shift.x;
    const WordBit bit{&masks.words[m * g.words()]};
    for (int32_t i = 0; i < g.rows(); ++i)
      for (int32_t j = 0; j < g.cols(); ++j)
        shifted[i * g.y.size * size.cols + j * g.x.size] += w * cell_count(g, i, j, parts, bit);
  }
  std::vector<double> bins(counts.size());
  for (size_t i = 0; i < bins.size(); ++i) bins[i] = fixed.value(counts[i]) * parts.share();
  std::vector<double> tall(a.height * size.cols), wide(a.height * size.cols), across(a.positions());
  expand_axis(bins.data(), tall.data(), g.y, a.height, size.cols, parts.y);
  transpose(tall.data(), wide.data(), a.height, size.cols);
  expand_axis(wide.data(), across.data(), g.x, a.width, a.height, parts.x);
  std::vector<double> upright(a.positions());
  transpose(across.data(), upright.data(), a.width, a.height);
  add_scaled(a.out + plane * a.positions(), upright.data(), 1.0, a.positions());
}

void accumulate_full(const AccumulateArgs& a, const FullEdits& edits, bool squared, int64_t plane) {
  double* out = a.out + plane * a.positions();
  for (int64_t m = 0; m < a.edits; ++m)
    for (int64_t y = 0; y < a.height; ++y)
      add_mask(out + y * a.width, edits.masks + plane / a.kinds * edits.item + m * edits.edit + y * edits.row,
               edits.col, a.weight(plane, m), squared, a.width);
}

// f(plane) for every item and kind; each writes its own plane of the result, which is cleared first
template <class F>
void for_each_plane(const AccumulateArgs& a, int threads, F f) {
  parallel_for(a.planes(), 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * a.positions(); i < end * a.positions(); ++i) a.out[i] = 0.0;
    for (int64_t plane = begin; plane < end; ++plane) f(plane);
  });
}

}  // namespace

void accumulate_windows_cpu(const AccumulateArgs& args, const WindowEdits& edits, int threads) {
  for_each_plane(args, threads, [&](int64_t plane) { accumulate_windows(args, edits, plane); });
}
void accumulate_coalitions_cpu(const AccumulateArgs& args, const CoalitionEdits& edits, int threads) {
  for_each_plane(args, threads, [&](int64_t plane) { accumulate_coalitions(args, edits, plane); });
}
void accumulate_grids_cpu(const AccumulateArgs& args, const GridEdits& edits, bool squared, int threads) {
  const GridMasks masks(edits.grid, args.edits, threads);
  for_each_plane(args, threads, [&](int64_t plane) {
    if (!squared) return accumulate_grid(args, edits.grid, masks, plane, kPlainParts[0]);
    for (const GridParts& parts : kSquareParts) accumulate_grid(args, edits.grid, masks, plane, parts);
  });
}
void accumulate_full_cpu(const AccumulateArgs& args, const FullEdits& edits, bool squared, int threads) {
  for_each_plane(args, threads, [&](int64_t plane) { accumulate_full(args, edits, squared, plane); });
}

}  // namespace xp
