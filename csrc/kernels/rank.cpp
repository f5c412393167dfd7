// Radix sort from the lowest digit: each pass keeps the order of equal digits, so equal keys stay by index.
#include "kernels/rank.h"

#include <array>
#include <vector>

#include "core/parallel_for.h"

namespace xp {
namespace {

constexpr int kDigitBits = 11, kPasses = 3;
constexpr uint32_t kDigits = 1u << kDigitBits;
constexpr uint32_t digit(uint32_t key, int pass) { return (key >> (pass * kDigitBits)) & (kDigits - 1); }

struct Entry {
  uint32_t key, index;
};

class Sorter {
 public:
  explicit Sorter(int64_t positions) : from(positions), to(positions) {}

  void run(const float* values, int32_t* rank) {
    for (auto& counts : start) counts.fill(0);
    for (size_t i = 0; i < from.size(); ++i) {
      const uint32_t key = rank_key(values[i]);
      from[i] = Entry{key, static_cast<uint32_t>(i)};
      for (int pass = 0; pass < kPasses; ++pass) ++start[pass][digit(key, pass)];
    }
    for (auto& counts : start) {
      uint32_t sum = 0;
      for (uint32_t& count : counts) {
        const uint32_t here = count;
        count = sum;
        sum += here;
      }
    }
    for (int pass = 0; pass < kPasses - 1; ++pass) {
      for (const Entry& e : from) to[start[pass][digit(e.key, pass)]++] = e;
      from.swap(to);
    }
    for (const Entry& e : from) rank[e.index] = static_cast<int32_t>(start[kPasses - 1][digit(e.key, kPasses - 1)]++);
  }

 private:
  std::vector<Entry> from, to;
  std::array<std::array<uint32_t, kDigits>, kPasses> start;
};

}  // namespace

void rank_cpu(const RankArgs& a, int threads) {
  parallel_for(a.items, ceil_div(1 << 15, a.positions + 1), threads, [&](int64_t begin, int64_t end) {
    Sorter sorter(a.positions);
    for (int64_t n = begin; n < end; ++n) sorter.run(a.values + n * a.positions, a.rank + n * a.positions);
  });
}

}  // namespace xp
