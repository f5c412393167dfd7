// RISE's masks as a function of a counter (Petsiuk et al. 2018, section 3.2, arXiv:1806.07421).
//
// Mask m is a grid of (rows + 1) x (cols + 1) cells, each 1 with probability `keep`, enlarged bilinearly to cells of
// (height x width) pixels with half-pixel centres, clamped at the rim, and shifted by a uniform draw below one cell.
// Both the cells and the shift come from Philox with the counter (m, index, purpose), so nothing about a mask is
// stored.
//
// Every operation below is a single IEEE float32 or integer operation in a fixed order (the build forbids contraction
// to fused multiply-add), so numpy, CPU, simulator and GPU agree to the bit.
#pragma once
#include "core/philox.h"

namespace xp {

struct GridAxis {
  int32_t size;    // pixels of one cell
  int32_t last;    // index of the last cell; cells 0..last
  float inverse;   // 1 / (2 size)
  uint32_t magic;  // ceil(2^32 / (2 size)) where a multiplication replaces the division, else 0
};
// `cells` cells that cover `extent` pixels, and one more for the shift.
inline GridAxis grid_axis(int32_t cells, int64_t extent) {
  const int64_t size = ceil_div(extent, cells), reach = 2 * (extent + size) * 2 * size;
  return GridAxis{static_cast<int32_t>(size), cells, 1.f / static_cast<float>(2 * size),
                  reach < (int64_t{1} << 32) ? static_cast<uint32_t>(ceil_div(int64_t{1} << 32, 2 * size)) : 0u};
}

struct GridGeometry {
  GridAxis y, x;
  uint64_t seed;
  int64_t first;       // number of the first mask
  uint32_t threshold;  // a cell is kept when its draw is below
  XP_HD int32_t rows() const { return y.last + 1; }
  XP_HD int32_t cols() const { return x.last + 1; }
  XP_HD int32_t cells() const { return rows() * cols(); }
  XP_HD int32_t words() const { return (cells() + 31) / 32; }  // one bit per cell, row by row
};

// Word w of the cells of mask m: bit b is cell 32 w + b.
XP_HD uint32_t grid_word(const GridGeometry& g, int64_t m, int32_t w) {
  const uint64_t number = static_cast<uint64_t>(g.first + m);
  uint32_t word = 0;
  for (int32_t q = 0; q < 8; ++q) {
    const Draw d = philox(Draw{{static_cast<uint32_t>(number), static_cast<uint32_t>(number >> 32),
                                static_cast<uint32_t>(8 * w + q), 0u}},
                          g.seed);
    XP_UNROLL
    for (int32_t lane = 0; lane < 4; ++lane) {
      const int32_t bit = 4 * q + lane;
      word |= (32 * w + bit < g.cells() && d.v[lane] < g.threshold ? 1u : 0u) << bit;
    }
  }
  return word;
}

// The same bit by itself, for a thread that needs few.
XP_HD int grid_bit(const GridGeometry& g, int64_t m, int32_t cell) {
  const uint64_t number = static_cast<uint64_t>(g.first + m);
  const Draw d = philox(
      Draw{{static_cast<uint32_t>(number), static_cast<uint32_t>(number >> 32), static_cast<uint32_t>(cell / 4), 0u}},
      g.seed);
  const int lane = cell % 4;
  const uint32_t drawn = lane == 0 ? d.v[0] : lane == 1 ? d.v[1] : lane == 2 ? d.v[2] : d.v[3];
  return drawn < g.threshold ? 1 : 0;
}

struct Shift {
  int32_t y, x;
};
XP_HD Shift grid_shift(const GridGeometry& g, int64_t m) {
  const uint64_t number = static_cast<uint64_t>(g.first + m);
  const Draw d = philox(Draw{{static_cast<uint32_t>(number), static_cast<uint32_t>(number >> 32), 0u, 1u}}, g.seed);
  return Shift{static_cast<int32_t>(mul_high(d.v[0], static_cast<uint32_t>(g.y.size))),
               static_cast<int32_t>(mul_high(d.v[1], static_cast<uint32_t>(g.x.size)))};
}

// Where an enlarged coordinate t falls between cell centres: cell `index` and its neighbour, which has weight `share`.
// In half pixels the centre of cell i lies at 2 i size + size - 1, so index and remainder are exact integers.
struct Between {
  int32_t index;
  float share;
};
XP_HD int32_t half_pixels(const GridAxis& a, int32_t t) { return 2 * t + 1 - a.size; }
XP_HD int32_t cell_of(const GridAxis& a, int32_t offset) {
  return a.magic ? static_cast<int32_t>(mul_high(static_cast<uint32_t>(offset), a.magic)) : offset / (2 * a.size);
}
XP_HD Between between(const GridAxis& a, int32_t t) {
  const int32_t offset = half_pixels(a, t);
  if (offset < 0) return Between{0, 0.f};
  const int32_t index = cell_of(a, offset);
  if (index >= a.last) return Between{a.last, 0.f};
  return Between{index, static_cast<float>(offset - 2 * a.size * index) * a.inverse};
}
XP_HD float lerp(float a, float b, float share) { return a + share * (b - a); }

XP_HD float cell_value(const uint32_t* words, int32_t cell) {
  return static_cast<float>((words[cell >> 5] >> (cell & 31)) & 1u);
}
// Column j of the grid at a row between two grid rows.
XP_HD float column_value(const uint32_t* words, const GridGeometry& g, Between row, int32_t j) {
  const int32_t below = row.index < g.y.last ? row.index + 1 : g.y.last;
  return lerp(cell_value(words, row.index * g.cols() + j), cell_value(words, below * g.cols() + j), row.share);
}

}  // namespace xp
