#include "kernels/describe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/parallel_for.h"

namespace xp {
namespace {

// Lanes of one loop step, as GCC lowers them to whatever vectors a clone's processor has. Passed by reference alone:
// how such values are passed is not the same on all of them.
constexpr int64_t kLanes = 8;
using Bits = int32_t __attribute__((vector_size(4 * kLanes)));
using Floats = float __attribute__((vector_size(4 * kLanes)));
using Doubles = double __attribute__((vector_size(8 * kLanes)));
__extension__ using Wide = unsigned __int128;

constexpr int32_t kSize = 0x7fffffff, kInfinite = 0x7f800000;
constexpr uint16_t kNaN = 0x7e00, kHalfSize = 0x7fff;
constexpr int64_t kCodes = 0x3c01;  // half precision's sizes from 0 to 1
constexpr int64_t kSlots = (kCodes + kLanes - 1) / kLanes * kLanes;
constexpr int64_t kFew = 512;  // codes that are sorted faster than all slots are looked at

// `count` values, at most kLanes; zeros behind them
XP_HD void load(Bits& to, const float* from, int64_t count) {
  to = Bits{};
  memcpy(&to, from, static_cast<size_t>(count) * sizeof(float));
}
XP_HD void load(Doubles& to, const double* from, int64_t count) {
  to = Doubles{};
  memcpy(&to, from, static_cast<size_t>(count) * sizeof(double));
}
XP_HD double folded(const Doubles& d) { return ((d[0] + d[4]) + (d[2] + d[6])) + ((d[1] + d[5]) + (d[3] + d[7])); }
XP_HD int32_t largest(const Bits& b) {
  int32_t found = 0;
  for (int64_t k = 0; k < kLanes; ++k) found = b[k] > found ? b[k] : found;
  return found;
}

struct Sums {
  int32_t scale = 0;  // bits of the largest size: sizes are in the order of their bits, NaN and infinity above all
  double total = 0, mass = 0;
};

XP_HD void sum_step(const float* v, int64_t count, Bits& most, Doubles& total, Doubles& mass) {
  Bits b;
  load(b, v, count);
  const Bits size = b & kSize;
  most = size > most ? size : most;
  total += __builtin_convertvector((Floats)b, Doubles);
  mass += __builtin_convertvector((Floats)size, Doubles);
}

XP_CLONES void sum_up(const float* v, int64_t n, Sums& found) {
  Bits most{};
  Doubles total{}, mass{};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) sum_step(v + i, kLanes, most, total, mass);
  if (i < n) sum_step(v + i, n - i, most, total, mass);
  found = Sums{largest(most), folded(total), folded(mass)};
}

XP_CLONES void add_sizes(float* to, const float* v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += std::fabs(v[i]);
}

XP_HD void weigh_step(const float* v, const double* by, int64_t count, Bits& most, Doubles& sum) {
  Bits b;
  Doubles weight;
  load(b, v, count);
  load(weight, by, count);
  b &= kSize;
  most = b > most ? b : most;
  sum += weight * __builtin_convertvector((Floats)b, Doubles);
}

// the products of one row with each of the columns' weights; the bits of its largest size
XP_CLONES void weigh_row(const float* v, const double* columns, int64_t weights, int64_t width, double* found,
                         int32_t& most) {
  Bits top{};
  for (int64_t c = 0; c < weights; ++c, columns += width) {
    Doubles sum{};
    int64_t x = 0;
    for (; x + kLanes <= width; x += kLanes) weigh_step(v + x, columns + x, kLanes, top, sum);
    if (x < width) weigh_step(v + x, columns + x, width - x, top, sum);
    found[c] = folded(sum);
  }
  most = largest(top);
}

XP_CLONES void encode(f16* to, const float* v, float scale, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = from_float<f16>(v[i] / scale);
}

XP_CLONES void add_logs(const int32_t* counts, const double* logs, Doubles& sum) {
  Doubles found{};
  for (int64_t k = 0; k < kSlots; k += kLanes) {
    Bits count;
    Doubles log;
    memcpy(&count, counts + k, sizeof count);
    load(log, logs + k, kLanes);
    found += log * __builtin_convertvector(count, Doubles);
  }
  sum = found;
}

// Of each code its size as a whole number of 2^-24, and that times its logarithm.
struct Sizes {
  std::vector<uint32_t> whole = std::vector<uint32_t>(kSlots);
  std::vector<double> logs = std::vector<double>(kSlots);
  Sizes() {
    for (uint32_t code = 1; code < kCodes; ++code) {
      const uint32_t power = code >> 10, digits = code & 0x3ffu;
      whole[code] = power ? (0x400u | digits) << (power - 1) : digits;
      logs[code] = whole[code] * std::log(static_cast<double>(whole[code]));
    }
  }
};
const Sizes& sizes() {
  static const Sizes made;
  return made;
}

// Sums over sizes that come in ascending order, each with how often it is there.
struct Spread {
  uint64_t sum = 0, below = 0;
  Wide ranked = 0;  // sum of (2 rank - 1) size
  void add(uint64_t count, uint64_t size) {
    const uint64_t here = count * size;
    sum += here;
    ranked += static_cast<Wide>(here) * (2 * below + count);
    below += count;
  }
  double gini() const {
    const Wide all = static_cast<Wide>(below) * sum;
    return static_cast<double>(ranked - all) / static_cast<double>(all);
  }
  double entropy(const Doubles& logs) const {
    const double whole = static_cast<double>(sum);
    return std::log(whole) - folded(logs) / whole;
  }
};

class Counter {
 public:
  void run(const f16* codes, int64_t n, double& gini, double& entropy) {
    Spread spread;
    Doubles logs{};
    if (n <= kFew)
      sorted(codes, n, spread, logs);
    else
      counted(codes, n, spread, logs);
    gini = spread.gini();
    entropy = spread.entropy(logs);
  }

 private:
  void sorted(const f16* codes, int64_t n, Spread& spread, Doubles& logs) {
    few_.resize(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) few_[i] = codes[i].bits & kHalfSize;
    std::sort(few_.begin(), few_.end());
    for (int64_t i = 0, next = 0; i < n; i = next) {
      const uint16_t code = few_[i];
      while (next < n && few_[next] == code) ++next;
      spread.add(static_cast<uint64_t>(next - i), sizes().whole[code]);
      logs[code % kLanes] += static_cast<double>(next - i) * sizes().logs[code];
    }
  }
  void counted(const f16* codes, int64_t n, Spread& spread, Doubles& logs) {
    counts_.assign(kSlots, 0);
    for (int64_t i = 0; i < n; ++i) ++counts_[codes[i].bits & kHalfSize];
    const uint32_t* whole = sizes().whole.data();
    Spread found;
    for (int64_t k = 0; k < kCodes; ++k) found.add(static_cast<uint64_t>(counts_[k]), whole[k]);
    spread = found;
    add_logs(counts_.data(), sizes().logs.data(), logs);
  }

  std::vector<uint16_t> few_;
  std::vector<int32_t> counts_;
};

// The plane of a map: where it is largest, and its parts.
class Plane {
 public:
  explicit Plane(const DescribeArgs& args) : a(args), row_(args.column_weights) {}

  void run(const float* map, double& place, double* parts) {
    const float* plane = a.layers == 1 ? map : added(map);
    std::fill(parts, parts + a.row_weights * a.column_weights, 0.0);
    int32_t best = -1;
    int64_t at = 0;
    for (int64_t y = 0; y < a.height; ++y) {
      int32_t most = 0;
      weigh_row(plane + y * a.width, a.columns, a.column_weights, a.width, row_.data(), most);
      if (most > best) best = most, at = y;
      for (int64_t r = 0; r < a.row_weights; ++r)
        for (int64_t c = 0; c < a.column_weights; ++c)
          parts[r * a.column_weights + c] += a.rows[r * a.height + y] * row_[c];
    }
    const float* line = plane + at * a.width;
    int64_t x = 0;
    while (static_cast<int32_t>(float_bits(line[x]) & kSize) != best) ++x;
    place = static_cast<double>(at * a.width + x);
  }

 private:
  const float* added(const float* map) {
    plane_.assign(static_cast<size_t>(a.positions()), 0.f);
    for (int64_t d = 0; d < a.layers; ++d) add_sizes(plane_.data(), map + d * a.positions(), a.positions());
    return plane_.data();
  }

  const DescribeArgs& a;
  std::vector<double> row_;
  std::vector<float> plane_;
};

void describe_one(const DescribeArgs& a, int64_t n, Plane& plane, Counter& counter) {
  const float* map = a.maps + n * a.size();
  f16* codes = a.codes + n * a.size();
  double* found = a.numbers + n * a.found();
  Sums sums;
  sum_up(map, a.size(), sums);
  if (sums.scale >= kInfinite) {
    std::fill(codes, codes + a.size(), f16{kNaN});
    std::fill(found, found + a.found(), std::numeric_limits<double>::quiet_NaN());
    return;
  }
  const float scale = bits_float(static_cast<uint32_t>(sums.scale));
  found[0] = scale;
  found[1] = sums.total;
  found[2] = sums.mass;
  encode(codes, map, scale > 0 ? scale : 1.f, a.size());
  if (scale > 0)
    counter.run(codes, a.size(), found[3], found[4]);
  else
    found[3] = found[4] = std::numeric_limits<double>::quiet_NaN();
  plane.run(map, found[5], found + kDescribed);
}

}  // namespace

void describe_cpu(const DescribeArgs& a, int threads) {
  parallel_for(a.items, ceil_div(1 << 15, a.size()), threads, [&](int64_t begin, int64_t end) {
    Plane plane(a);
    Counter counter;
    for (int64_t n = begin; n < end; ++n) describe_one(a, n, plane, counter);
  });
}

}  // namespace xp
