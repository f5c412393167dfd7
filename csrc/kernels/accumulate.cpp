#include "kernels/accumulate.h"

#include <cmath>
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
XP_CLONES void add_kept(double* to, const uint8_t* keep, int64_t step, double w, int64_t n) {
  if (step == 1)
    for (int64_t i = 0; i < n; ++i) to[i] += keep[i] ? w : 0.0;
  else
    for (int64_t i = 0; i < n; ++i) to[i] += keep[i * step] ? w : 0.0;
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

// A power of two that keeps the sum of |weights| below 2^62 as an integer: the only rounding is one per weight.
double fixed_point_scale(const AccumulateArgs& a, int64_t n, int64_t k) {
  double total = 0;
  for (int64_t m = 0; m < a.edits; ++m) total += std::fabs(a.weights[(n * a.edits + m) * a.kinds + k]);
  require(std::isfinite(total), "accumulate", "weights must be finite");
  int exponent = 0;
  std::frexp(total, &exponent);
  return total > 0 ? std::ldexp(1.0, 61 - exponent) : 1.0;
}

void accumulate_windows(const AccumulateArgs& a, const WindowEdits& edits, int64_t n, int64_t k) {
  const int64_t pitch = a.width + 1;
  std::vector<int64_t> corners((a.height + 1) * pitch);
  const double scale = fixed_point_scale(a, n, k);
  for (int64_t m = 0; m < a.edits; ++m) {
    const Window w = edits.at(n, m);
    const int64_t y0 = min64(max64(w.y0, 0), a.height), y1 = min64(max64(w.y1, 0), a.height);
    const int64_t x0 = min64(max64(w.x0, 0), a.width), x1 = min64(max64(w.x1, 0), a.width);
    if (y0 >= y1 || x0 >= x1) continue;
    const int64_t v = std::llrint(a.weights[(n * a.edits + m) * a.kinds + k] * scale);
    corners[y0 * pitch + x0] += v;
    corners[y0 * pitch + x1] -= v;
    corners[y1 * pitch + x0] -= v;
    corners[y1 * pitch + x1] += v;
  }
  double* out = a.out + (n * a.kinds + k) * a.height * a.width;
  std::vector<int64_t> above(a.width);
  for (int64_t y = 0; y < a.height; ++y) {
    int64_t along = 0;
    for (int64_t x = 0; x < a.width; ++x) {
      along += corners[y * pitch + x];
      above[x] += along;
      out[y * a.width + x] = static_cast<double>(above[x]) / scale;
    }
  }
}

void accumulate_coalitions(const AccumulateArgs& a, const CoalitionEdits& edits, int64_t n, int64_t k) {
  std::vector<double> per_feature(edits.features);
  double total = 0;  // what a position that is never hidden gets
  for (int64_t m = 0; m < a.edits; ++m) {
    const double w = a.weights[(n * a.edits + m) * a.kinds + k];
    total += w;
    if (edits.keep)
      add_kept(per_feature.data(), edits.keep + n * edits.keep_item + m * edits.keep_edit, edits.keep_feature, w,
               edits.features);
    else
      for (uint32_t s = 0; s < edits.features; ++s)
        per_feature[s] += edits.kept(n, m, static_cast<int32_t>(s)) ? w : 0.0;
  }
  double* out = a.out + (n * a.kinds + k) * a.height * a.width;
  for (int64_t y = 0; y < a.height; ++y)
    for (int64_t x = 0; x < a.width; ++x) {
      const uint32_t label = static_cast<uint32_t>(edits.label(n, y, x));
      out[y * a.width + x] = label < edits.features ? per_feature[label] : total;
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

// What a cell's bin receives for a pair of axis parts: the cell itself, or how many of its neighbour pairs are kept.
struct CellCount {
  const uint32_t* words;
  const GridGeometry& g;
  int bit(int32_t i, int32_t j) const {
    if (i > g.y.last || j > g.x.last) return 0;
    const int32_t cell = i * g.cols() + j;
    return (words[cell >> 5] >> (cell & 31)) & 1;
  }
  double operator()(int32_t i, int32_t j, bool cross_y, bool cross_x) const {
    if (!cross_y && !cross_x) return bit(i, j);
    if (!cross_y) return bit(i, j) & bit(i, j + 1);
    if (!cross_x) return bit(i, j) & bit(i + 1, j);
    return 0.5 * ((bit(i, j) & bit(i + 1, j + 1)) + (bit(i, j + 1) & bit(i + 1, j)));
  }
};

void accumulate_grid(const AccumulateArgs& a, const GridGeometry& g, const GridMasks& masks, int64_t n, int64_t k,
                     AxisPart along_y, AxisPart along_x) {
  const int64_t bin_rows = int64_t{g.rows()} * g.y.size, bin_cols = int64_t{g.cols()} * g.x.size;
  const bool cross_y = along_y == AxisPart::cross, cross_x = along_x == AxisPart::cross;
  std::vector<double> bins(bin_rows * bin_cols);
  for (int64_t m = 0; m < a.edits; ++m) {
    const double w = a.weights[(n * a.edits + m) * a.kinds + k];
    const Shift shift = masks.shifts[m];
    double* shifted = bins.data() + shift.y * bin_cols + shift.x;
    const uint32_t* words = &masks.words[m * g.words()];
    if (!cross_y && !cross_x) {
      for (int32_t i = 0; i < g.rows(); ++i)
        for (int32_t j = 0; j < g.cols(); ++j)
          shifted[i * g.y.size * bin_cols + j * g.x.size] += w * cell_value(words, i * g.cols() + j);
    } else {
      const CellCount count{words, g};
      for (int32_t i = 0; i < g.rows(); ++i)
        for (int32_t j = 0; j < g.cols(); ++j)
          shifted[i * g.y.size * bin_cols + j * g.x.size] += w * count(i, j, cross_y, cross_x);
    }
  }
  std::vector<double> tall(a.height * bin_cols), wide(a.height * bin_cols), across(a.width * a.height);
  expand_axis(bins.data(), tall.data(), g.y, a.height, bin_cols, along_y);
  transpose(tall.data(), wide.data(), a.height, bin_cols);
  expand_axis(wide.data(), across.data(), g.x, a.width, a.height, along_x);
  double* out = a.out + (n * a.kinds + k) * a.height * a.width;
  std::vector<double> upright(a.width * a.height);
  transpose(across.data(), upright.data(), a.width, a.height);
  add_scaled(out, upright.data(), 1.0, a.width * a.height);
}

void accumulate_full(const AccumulateArgs& a, const FullEdits& edits, bool squared, int64_t n, int64_t k) {
  double* out = a.out + (n * a.kinds + k) * a.height * a.width;
  for (int64_t m = 0; m < a.edits; ++m)
    for (int64_t y = 0; y < a.height; ++y)
      add_mask(out + y * a.width, edits.masks + n * edits.item + m * edits.edit + y * edits.row, edits.col,
               a.weights[(n * a.edits + m) * a.kinds + k], squared, a.width);
}

// f(n, k) for every item and kind; each writes its own plane of the result, which is cleared first
template <class F>
void for_each_plane(const AccumulateArgs& a, int threads, F f) {
  parallel_for(a.items * a.kinds, 1, threads, [&](int64_t begin, int64_t end) {
    const int64_t plane = a.height * a.width;
    for (int64_t i = begin * plane; i < end * plane; ++i) a.out[i] = 0.0;
    for (int64_t i = begin; i < end; ++i) f(i / a.kinds, i % a.kinds);
  });
}

}  // namespace

void accumulate_windows_cpu(const AccumulateArgs& args, const WindowEdits& edits, int threads) {
  for_each_plane(args, threads, [&](int64_t n, int64_t k) { accumulate_windows(args, edits, n, k); });
}
void accumulate_coalitions_cpu(const AccumulateArgs& args, const CoalitionEdits& edits, int threads) {
  for_each_plane(args, threads, [&](int64_t n, int64_t k) { accumulate_coalitions(args, edits, n, k); });
}
void accumulate_grids_cpu(const AccumulateArgs& args, const GridEdits& edits, bool squared, int threads) {
  const GridMasks masks(edits.grid, args.edits, threads);
  for_each_plane(args, threads, [&](int64_t n, int64_t k) {
    if (!squared) return accumulate_grid(args, edits.grid, masks, n, k, AxisPart::plain, AxisPart::plain);
    for (AxisPart y : {AxisPart::squares, AxisPart::cross})
      for (AxisPart x : {AxisPart::squares, AxisPart::cross}) accumulate_grid(args, edits.grid, masks, n, k, y, x);
  });
}
void accumulate_full_cpu(const AccumulateArgs& args, const FullEdits& edits, bool squared, int threads) {
  for_each_plane(args, threads, [&](int64_t n, int64_t k) { accumulate_full(args, edits, squared, n, k); });
}

}  // namespace xp
