#include "kernels/least_squares.h"

#include <algorithm>
#include <vector>

#include "core/parallel_for.h"

namespace xp {
namespace {

struct OneThread {
  int64_t rank() const { return 0; }
  int64_t size() const { return 1; }
  void sync() const {}
};

using CommonBits = int64_t (*)(const uint64_t*, const uint64_t*, int64_t);

XP_CLONES int64_t common_bits(const uint64_t* a, const uint64_t* b, int64_t n) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += population(a[i] & b[i]);
  return count;
}
#if XP_HAS_CLONES
// counting bits eight words at a time is an extension of its own, which no x86-64 level implies
__attribute__((target("avx512f,avx512vpopcntdq"))) int64_t common_bits_wide(const uint64_t* a, const uint64_t* b,
                                                                            int64_t n) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += __builtin_popcountll(a[i] & b[i]);
  return count;
}
CommonBits fastest_count() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512vpopcntdq") ? &common_bits_wide : &common_bits;
}
#else
CommonBits fastest_count() { return &common_bits; }
#endif

}  // namespace

void pack_columns_cpu(const PackColumns& p, int threads) {
  parallel_for(p.words, 64, threads, [&](int64_t begin, int64_t end) {
    std::vector<uint64_t> word(p.features);
    for (int64_t w = begin; w < end; ++w) {
      std::fill(word.begin(), word.end(), uint64_t{0});
      for (int64_t b = 0; b < 64; ++b)
        if (p.has(64 * w + b))
          for (int64_t s = 0; s < p.features; ++s) word[s] |= p.bit(64 * w + b, s) << b;
      for (int64_t s = 0; s < p.features; ++s) p.columns[s * p.words + w] = word[s];
    }
  });
}

void count_gram_cpu(const CountGram& g, int threads) {
  // rows of the triangle are dealt out from both ends, so that threads get equal work
  const CommonBits count = fastest_count();
  const int64_t half = ceil_div(g.features, 2);
  parallel_for(half, 4, threads, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k)
      for (int64_t i : {k, g.features - 1 - k}) {
        for (int64_t j = i; j < g.features; ++j) {
          double sum = 0;
          for (int64_t q = 0; q < g.groups; ++q)
            sum += g.weight[q] *
                   static_cast<double>(count(g.columns + i * g.words + g.begin[q], g.columns + j * g.words + g.begin[q],
                                             g.begin[q + 1] - g.begin[q]));
          g.write(i, j, sum);
        }
        if (k == g.features - 1 - k) break;
      }
  });
}

void solve_cpu(const SolveArgs& a, int threads) {
  parallel_for(a.batch, 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) solve_one(OneThread{}, a, b);
  });
}

}  // namespace xp
