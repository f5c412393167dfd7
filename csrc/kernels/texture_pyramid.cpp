#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/texture.h"

namespace xp {
namespace {

constexpr int64_t kLanes = 32;        // candidates that lie beside one another are compared at once
constexpr int64_t kBetweenLooks = 6;  // numbers that are added up before a block of them may be given up
constexpr int64_t kNowhere = -1;

// One number of a pixel's surroundings: where it lies from a candidate, in the plane of the level or of the one above.
struct Feature {
  int64_t offset;
  int16_t value;
  bool above;
};

// What a pixel's surroundings are made of: places from it, and how far they are from it in its own pixels.
struct Spot {
  int64_t dy, dx, far;
  bool above;
};

std::vector<Spot> surroundings(const LevelArgs& a) {
  std::vector<Spot> found;
  const int64_t half = a.window / 2, wide = a.above ? a.above_window / 2 : -1;
  for (int64_t dy = -half; dy <= 0; ++dy)
    for (int64_t dx = -half; dx <= half; ++dx)
      if (dy < 0 || dx < 0) found.push_back({dy, dx, dy * dy + dx * dx, false});
  for (int64_t dy = -wide; dy <= wide; ++dy)
    for (int64_t dx = -wide; dx <= wide; ++dx) found.push_back({dy, dx, 4 * (dy * dy + dx * dx), true});
  // nearest first: what is unlike is found out early
  std::stable_sort(found.begin(), found.end(), [](const Spot& p, const Spot& q) { return p.far < q.far; });
  return found;
}

// A sample as planes; of the level above each column stands twice, so that neighbours stay neighbours.
std::vector<uint8_t> planes(const Sample& s, int64_t times) {
  const int64_t width = s.width * times;
  std::vector<uint8_t> found(s.channels * s.height * width + kLanes);  // the last block reads beyond
  for (int64_t c = 0; c < s.channels; ++c)
    for (int64_t y = 0; y < s.height; ++y)
      for (int64_t x = 0; x < width; ++x) found[(c * s.height + y) * width + x] = s.at(y, x / times)[c];
  return found;
}

struct Range {
  int64_t top, bottom, left, right;  // candidates, the second of each pair outside
  bool holds(int64_t v, int64_t u) const { return v >= top && v < bottom && u >= left && u < right; }
};

Range candidates(const LevelArgs& a) {
  const int64_t half = a.window / 2;
  Range r{half, a.sample.height, half, a.sample.width - half};
  if (a.above) {
    const int64_t wide = a.above_window / 2;
    r.top = std::max(r.top, 2 * wide);
    r.left = std::max(r.left, 2 * wide);
    r.bottom = std::min(r.bottom, 2 * (a.sample_above.height - wide));
    r.right = std::min(r.right, 2 * (a.sample_above.width - wide));
  }
  return r;
}

struct Search {
  const uint8_t* own;
  const uint8_t* above;
  int64_t width, width_above;  // of their rows
  Range range;
};

int64_t distance(const Search& s, const Feature* feature, const Feature* end, int64_t v, int64_t u) {
  const uint8_t* base[2] = {s.own + v * s.width + u, s.above + (v / 2) * s.width_above + u};
  int64_t sum = 0;
  for (; feature < end; ++feature) {
    const int64_t d = base[feature->above][feature->offset] - feature->value;
    sum += d * d;
  }
  return sum;
}

// The first candidate, in the order in which one reads, whose distance is the smallest; that is at most `limit`.
XP_CLONES int64_t nearest(const Search& s, const Feature* features, int64_t count, uint32_t limit) {
  int64_t found = kNowhere;
  for (int64_t v = s.range.top; v < s.range.bottom; ++v) {
    const uint8_t* row[2] = {s.own + v * s.width, s.above + (v / 2) * s.width_above};
    for (int64_t u = s.range.left; u < s.range.right; u += kLanes) {
      uint32_t sum[kLanes] = {};
      bool hopeless = false;
      for (int64_t k = 0; k < count && !hopeless;) {
        for (const int64_t stop = std::min(count, k + kBetweenLooks); k < stop; ++k) {
          const uint8_t* at = row[features[k].above] + features[k].offset + u;
          const int16_t value = features[k].value;
          for (int64_t i = 0; i < kLanes; ++i) {
            const int16_t d = static_cast<int16_t>(at[i] - value);
            sum[i] += static_cast<uint16_t>(d * d);  // at most 255 * 255, which 16 bits hold
          }
        }
        uint32_t least = sum[0];
        for (int64_t i = 1; i < kLanes; ++i) least = std::min(least, sum[i]);
        hopeless = least > limit;
      }
      if (hopeless) continue;
      for (int64_t i = 0; i < std::min(kLanes, s.range.right - u); ++i)
        if (sum[i] < limit || (sum[i] == limit && found == kNowhere)) {
          limit = sum[i];
          found = v * s.width + u + i;
        }
      if (found != kNowhere && limit == 0) return found;
    }
  }
  return found;
}

}  // namespace

void level_cpu(const LevelArgs& a) {
  const Sample &s = a.sample, &t = a.sample_above;
  const std::vector<Spot> places = surroundings(a);
  const std::vector<uint8_t> own = planes(s, 1), above = a.above ? planes(t, 2) : std::vector<uint8_t>();
  const Search search{own.data(), a.above ? above.data() : own.data(), s.width, a.above ? 2 * t.width : 0,
                      candidates(a)};
  std::vector<Feature> features(places.size() * s.channels);
  for (int64_t y = 0; y < a.height; ++y)
    for (int64_t x = 0; x < a.width; ++x) {
      Feature* next = features.data();
      for (const Spot& p : places) {
        const int64_t height = p.above ? a.above_height : a.height, width = p.above ? a.above_width : a.width;
        const int64_t v = (p.above ? y / 2 : y) + p.dy, u = (p.above ? x / 2 : x) + p.dx;
        if (v < 0 || v >= height || u < 0 || u >= width) continue;
        const uint8_t* colour = (p.above ? a.above : a.out) + (v * width + u) * s.channels;
        const int64_t pitch = p.above ? search.width_above : s.width, rows = p.above ? t.height : s.height;
        for (int64_t c = 0; c < s.channels; ++c)
          *next++ = {(c * rows + p.dy) * pitch + (p.above ? 2 : 1) * p.dx, colour[c], p.above};
      }
      // where a neighbour came from, this pixel's likely lies beside it; and below where the pixel above it came from
      int64_t limit = std::numeric_limits<uint32_t>::max();
      const auto promise = [&](int64_t v, int64_t u) {
        if (search.range.holds(v, u)) limit = std::min(limit, distance(search, features.data(), next, v, u));
      };
      for (const auto& [dy, dx] : {std::pair<int, int>{0, -1}, {-1, -1}, {-1, 0}, {-1, 1}}) {
        const int64_t v = y + dy, u = x + dx;
        if (v < 0 || u < 0 || u >= a.width) continue;
        const int32_t from = a.source[v * a.width + u];
        promise(from / s.width - dy, from % s.width - dx);
      }
      if (a.above) {
        const int32_t from = a.source_above[(y / 2) * a.above_width + x / 2];
        promise(from / t.width * 2 + y % 2, from % t.width * 2 + x % 2);
      }
      const int64_t chosen = nearest(search, features.data(), next - features.data(), static_cast<uint32_t>(limit));
      a.source[y * a.width + x] = static_cast<int32_t>(chosen);
      std::copy_n(s.pixels + chosen * s.channels, s.channels, a.out + (y * a.width + x) * s.channels);
    }
}

}  // namespace xp
