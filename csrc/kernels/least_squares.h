// Normal equations of weighted least squares over coalitions, and their solution under a sum constraint.
//
//   gram   A[i, j] = sum over m of weight[m] z[m, i] z[m, j],  z in {0, 1}
//   solve  phi = argmin ||..||  subject to  sum phi = total:  phi = u + v (total - sum u) / sum v,  A u = b, A v = 1
//
// Kernel SHAP's and LIME's weights take few values, as they depend on the size of the coalition alone. Rows of equal
// weight are put together, the columns are packed into bits, and a group's share is an exact integer: a population
// count. Lundberg and Lee 2017, theorem 2; Covert and Lee 2021, equation 7.
#pragma once
#include <cmath>

#include "core/portable.h"

namespace xp {

XP_HD int population(uint64_t v) {
#if defined(__CUDA_ARCH__)
  return __popcll(static_cast<long long>(v));
#else
  return __builtin_popcountll(v);
#endif
}

// Columns [S, words] of 64-bit words; group g is words [begin[g], begin[g + 1]) with one weight; begin has groups + 1.
struct CountGram {
  const uint64_t* columns;
  const int64_t* begin;
  const double* weight;
  double* gram;  // [S, S]
  int64_t features, words, groups;
  XP_HD void write(int64_t i, int64_t j, double value) const {
    gram[i * features + j] = value;
    gram[j * features + i] = value;
  }
};

// Bit b of word w of every column is row row_at[64 w + b] of keep [M, S], or 0 where that is no row.
struct PackColumns {
  const uint8_t* keep;
  int64_t row, col;  // strides
  const int64_t* row_at;
  int64_t rows, features, words;
  uint64_t* columns;  // [S, words]
  XP_HD bool has(int64_t place) const { return row_at[place] >= 0 && row_at[place] < rows; }
  XP_HD uint64_t bit(int64_t place, int64_t feature) const {
    return keep[row_at[place] * row + feature * col] != 0 ? 1u : 0u;
  }
};

// General weights: factors [S + K, M] float32 whose Gram matrix holds X^T W X and X^T W y. Row s is sqrt(w) x[:, s],
// row S + k is sqrt(w) y[:, k].
struct WeightedFactors {
  const uint8_t* keep;
  int64_t row, col;       // strides
  const double* weights;  // [M], not negative
  const double* scores;   // [M, K]
  int64_t rows, features, kinds;
  float* factors;
  XP_HD void operator()(int64_t i) const {
    const int64_t m = i % rows, r = i / rows;
    const double root = sqrt(weights[m]);
    factors[i] = static_cast<float>(r >= features                  ? root * scores[m * kinds + r - features]
                                    : keep[m * row + r * col] != 0 ? root
                                                                   : 0.0);
  }
};

// to[i, j, k] = from[i, j, k] for any strides, float32 or float64 to float64
struct WidenCopy {
  const void* from;
  bool narrow;
  double* to;
  int64_t shape[3], from_stride[3], to_stride[3];
  XP_HD void operator()(int64_t t) const {
    const int64_t k = t % shape[2], j = t / shape[2] % shape[1], i = t / shape[2] / shape[1];
    const int64_t at = i * from_stride[0] + j * from_stride[1] + k * from_stride[2];
    to[i * to_stride[0] + j * to_stride[1] + k * to_stride[2]] =
        narrow ? static_cast<const float*>(from)[at] : static_cast<const double*>(from)[at];
  }
};

// Factorisation and solution by a group of threads that stand at the same barriers; on the CPU a group is one thread.
// `a` [n, n] symmetric is overwritten by its Cholesky factor; the columns of x [m, n] are right-hand sides, overwritten
// by solutions. Returns 0, or 1 + the pivot that was not above `least`.
template <class Group>
XP_HD int64_t solve_symmetric(Group group, double* a, int64_t n, double* x, int64_t m, double least) {
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = j + group.rank(); i < n; i += group.size()) {
      double sum = a[i + j * n];
      for (int64_t k = 0; k < j; ++k) sum -= a[i + k * n] * a[j + k * n];
      a[i + j * n] = sum;
    }
    group.sync();
    const double pivot = a[j + j * n];
    if (!(pivot > least)) return 1 + j;  // all threads of the group read the same value
    group.sync();
    const double scale = 1.0 / sqrt(pivot);
    for (int64_t i = j + group.rank(); i < n; i += group.size()) a[i + j * n] *= scale;
    group.sync();
  }
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t c = group.rank(); c < m; c += group.size()) x[j + c * n] /= a[j + j * n];
    group.sync();
    for (int64_t t = group.rank(); t < (n - j - 1) * m; t += group.size()) {
      const int64_t c = t / (n - j - 1), i = j + 1 + t % (n - j - 1);
      x[i + c * n] -= a[i + j * n] * x[j + c * n];
    }
    group.sync();
  }
  for (int64_t j = n - 1; j >= 0; --j) {
    for (int64_t c = group.rank(); c < m; c += group.size()) x[j + c * n] /= a[j + j * n];
    group.sync();
    for (int64_t t = group.rank(); t < j * m; t += group.size()) {
      const int64_t c = t / j, i = t % j;
      x[i + c * n] -= a[j + i * n] * x[j + c * n];
    }
    group.sync();
  }
  return 0;
}

// x [m + 1, n]: solutions for m right-hand sides and, last, for ones; the first m become those whose sum is total[c].
template <class Group>
XP_HD void constrain_sums(Group group, double* x, int64_t n, int64_t m, const double* total) {
  const double* ones = x + m * n;
  double reach = 0;
  for (int64_t i = 0; i < n; ++i) reach += ones[i];
  for (int64_t c = group.rank(); c < m; c += group.size()) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += x[i + c * n];
    const double step = (total[c] - sum) / reach;
    for (int64_t i = 0; i < n; ++i) x[i + c * n] += step * ones[i];
  }
}

// Batches of systems: gram [B, n, n] (overwritten), x [B, m + 1, n] whose first m rows are right-hand sides and become
// solutions, NaN where the system is singular; total [B, m] or null for no constraint, bad [B]: 0 or 1 + the failing
// pivot.
struct SolveArgs {
  double* gram;
  double* x;
  const double* total;
  int64_t* bad;
  int64_t batch, n, m;
  double least;  // relative to the largest diagonal element
};

template <class Group>
XP_HD void solve_one(Group group, const SolveArgs& a, int64_t b) {
  double* gram = a.gram + b * a.n * a.n;
  double* x = a.x + b * (a.m + 1) * a.n;
  for (int64_t i = group.rank(); i < a.n; i += group.size()) x[a.m * a.n + i] = 1.0;
  double largest = 0;
  for (int64_t i = 0; i < a.n; ++i) largest = gram[i + i * a.n] > largest ? gram[i + i * a.n] : largest;
  group.sync();  // all have read the diagonal before it changes
  const int64_t failed = solve_symmetric(group, gram, a.n, x, a.m + 1, a.least * largest);
  if (group.rank() == 0) a.bad[b] = failed;
  if (failed)  // on a device nobody waits for `bad`: the result itself says so
    for (int64_t i = group.rank(); i < a.m * a.n; i += group.size()) x[i] = bits_float(0x7fc00000u);
  else if (a.total)
    constrain_sums(group, x, a.n, a.m, a.total + b * a.m);
}

void pack_columns_cpu(const PackColumns& args, int threads);
void count_gram_cpu(const CountGram& args, int threads);
void solve_cpu(const SolveArgs& args, int threads);
void pack_columns_device(const PackColumns& args, int device, uintptr_t stream);
void weighted_factors_device(const WeightedFactors& args, int device, uintptr_t stream);
void widen_device(const WidenCopy& args, int device, uintptr_t stream);
void count_gram_device(const CountGram& args, int device, uintptr_t stream);
void solve_device(const SolveArgs& args, int device, uintptr_t stream);

}  // namespace xp
