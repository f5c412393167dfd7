// Maps told by a few numbers, and kept in half precision: one look at a map in place of a dozen.
//
//   scale    s = max |v|
//   total    sum v
//   mass     sum |v|
//   codes    v / s in half precision: what is kept of a map, besides s
//   gini     sum (2 i - n - 1) h_(i) / (n sum h), h = |v / s| as it is kept, ascending
//   entropy  ln sum h - sum h ln h / sum h
//   place    the first position of the plane where the sizes |v| of all layers add up to the most
//   parts    sum_y sum_x rows[r][y] columns[c][x] |v|, for every r and c
//
// A map that holds NaN or infinity has NaN for every number and every code; one of zeros has no gini and no entropy.
//
// Gini and entropy are of what is kept: half precision knows 15,361 sizes from 0 to 1, so they are counted and not
// sorted. Each is a multiple of 2^-24, and whole numbers add up exactly. Sums of v are float64, value i in lane i % 8,
// on every processor and for every number of threads; logarithms are the system's.
#pragma once
#include "core/dtype.h"

namespace xp {

constexpr int64_t kDescribed = 6;  // numbers of a map before its parts: scale, total, mass, gini, entropy, place

struct DescribeArgs {
  const float* maps;      // [N, layers, height, width]
  const double* rows;     // [R, height]
  const double* columns;  // [C, width]
  f16* codes;             // as maps
  double* numbers;        // [N, kDescribed + R * C]
  int64_t items, layers, height, width, row_weights, column_weights;
  int64_t positions() const { return height * width; }
  int64_t size() const { return layers * positions(); }
  int64_t found() const { return kDescribed + row_weights * column_weights; }
};

void describe_cpu(const DescribeArgs& args, int threads);

}  // namespace xp
