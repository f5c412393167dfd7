#include "kernels/texture.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace xp {
namespace {

constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

int64_t apart(const uint8_t* a, const uint8_t* b, int64_t channels) {
  int64_t sum = 0;
  for (int64_t c = 0; c < channels; ++c) {
    const int64_t d = int64_t{a[c]} - int64_t{b[c]};
    sum += d * d;
  }
  return sum;
}

// Candidates whose distance is near enough to the smallest; those that have been left behind are dropped at the end.
class Shortlist {
 public:
  explicit Shortlist(int64_t slack) : slack_(slack) {}
  void clear() {
    found_.clear();
    limit_ = kNone;
  }
  int64_t limit() const { return limit_; }
  void promise(int64_t distance) { limit_ = std::min(limit_, near_enough(distance, slack_)); }
  void add(int64_t distance, int32_t place) {
    promise(distance);
    found_.push_back({distance, place});
  }
  int32_t drawn(double u) {
    const auto behind = [&](const Entry& e) { return e.distance > limit_; };
    found_.erase(std::remove_if(found_.begin(), found_.end(), behind), found_.end());
    const int64_t count = static_cast<int64_t>(found_.size());
    return found_[std::min(count - 1, static_cast<int64_t>(u * static_cast<double>(count)))].place;
  }

 private:
  struct Entry {
    int64_t distance;
    int32_t place;
  };
  std::vector<Entry> found_;
  int64_t slack_, limit_ = kNone;
};

// A neighbour that is known already: where it lies from the pixel, its colour, and what it counts.
struct Neighbour {
  int64_t dy, dx, offset, weight;
  const uint8_t* colour;
};

}  // namespace

void grow_cpu(const GrowArgs& a) {
  const Sample& s = a.sample;
  const int64_t half = a.window / 2, pixels = s.channels;
  std::vector<Neighbour> places, known;  // nearest first: a candidate that is far off is given up early
  for (int64_t dy = -half; dy <= half; ++dy)
    for (int64_t dx = -half; dx <= half; ++dx)
      if (dy || dx)
        places.push_back(
            {dy, dx, (dy * s.width + dx) * pixels, a.weights[(dy + half) * a.window + dx + half], nullptr});
  std::stable_sort(places.begin(), places.end(), [](const Neighbour& p, const Neighbour& q) {
    return p.dy * p.dy + p.dx * p.dx < q.dy * q.dy + q.dx * q.dx;
  });
  const auto distance = [&](int64_t y, int64_t x, int64_t limit) {
    const uint8_t* middle = s.at(y, x);
    int64_t sum = 0;
    for (const Neighbour& n : known) {
      sum += n.weight * apart(middle + n.offset, n.colour, pixels);
      if (sum > limit) return kNone;
    }
    return sum;
  };
  const auto inside = [&](int64_t y, int64_t x) {
    return y >= half && y < s.height - half && x >= half && x < s.width - half;
  };
  Shortlist shortlist(a.slack);
  for (int64_t k = 0; k < a.count; ++k) {
    const int64_t y = a.order[k] / a.width, x = a.order[k] % a.width;
    known.clear();
    shortlist.clear();
    for (Neighbour n : places) {
      const int64_t v = y + n.dy, u = x + n.dx;
      if (v < 0 || v >= a.height || u < 0 || u >= a.width || a.source[v * a.width + u] < 0) continue;
      n.colour = a.out + (v * a.width + u) * pixels;
      known.push_back(n);
    }
    for (const Neighbour& n : known) {  // where a neighbour came from, this pixel's likely lies beside it
      if (n.dy * n.dy + n.dx * n.dx > 2) break;
      const int32_t from = a.source[(y + n.dy) * a.width + x + n.dx];
      const int64_t v = from / s.width - n.dy, u = from % s.width - n.dx;
      if (!inside(v, u)) continue;
      const int64_t d = distance(v, u, shortlist.limit());
      if (d != kNone) shortlist.promise(d);
    }
    for (int64_t v = half; v < s.height - half; ++v)
      for (int64_t u = half; u < s.width - half; ++u) {
        const int64_t d = distance(v, u, shortlist.limit());
        if (d != kNone) shortlist.add(d, static_cast<int32_t>(v * s.width + u));
      }
    const int32_t chosen = shortlist.drawn(a.draws[k]);
    a.source[a.order[k]] = chosen;
    std::copy_n(s.pixels + chosen * pixels, pixels, a.out + a.order[k] * pixels);
  }
}

namespace {

// For each of `length` lines across an overlap the first element that is the new block's: the path on which both differ
// least in sum, from line to line by at most one element. Ties go to the lower element.
void seam(const std::vector<int64_t>& error, int64_t length, int64_t overlap, std::vector<int64_t>& cut) {
  std::vector<int64_t> sum(error);
  for (int64_t i = 1; i < length; ++i)
    for (int64_t j = 0; j < overlap; ++j) {
      int64_t least = sum[(i - 1) * overlap + j];
      if (j > 0) least = std::min(least, sum[(i - 1) * overlap + j - 1]);
      if (j + 1 < overlap) least = std::min(least, sum[(i - 1) * overlap + j + 1]);
      sum[i * overlap + j] += least;
    }
  cut.assign(length, 0);
  for (int64_t i = length - 1; i >= 0; --i) {
    const int64_t low = i + 1 < length ? std::max(int64_t{0}, cut[i + 1] - 1) : 0;
    const int64_t high = i + 1 < length ? std::min(overlap - 1, cut[i + 1] + 1) : overlap - 1;
    cut[i] = low;
    for (int64_t j = low + 1; j <= high; ++j)
      if (sum[i * overlap + j] < sum[i * overlap + cut[i]]) cut[i] = j;
  }
}

}  // namespace

void quilt_cpu(const QuiltArgs& a) {
  const Sample& s = a.sample;
  const int64_t step = a.block - a.overlap, width = a.columns * step + a.overlap, pixels = s.channels;
  Shortlist shortlist(a.slack);
  std::vector<int64_t> error(a.block * a.overlap), left, top;
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < a.columns; ++j) {
      uint8_t* corner = a.out + (i * step * width + j * step) * pixels;
      const auto there = [&](int64_t y, int64_t x) { return corner + (y * width + x) * pixels; };
      const auto shared = [&](int64_t y, int64_t x) { return (i > 0 && y < a.overlap) || (j > 0 && x < a.overlap); };
      shortlist.clear();
      for (int64_t v = 0; v + a.block <= s.height; ++v)
        for (int64_t u = 0; u + a.block <= s.width; ++u) {
          int64_t sum = 0;
          for (int64_t y = 0; y < a.block && sum <= shortlist.limit(); ++y) {
            const int64_t end = i > 0 && y < a.overlap ? a.block : j > 0 ? a.overlap : 0;
            for (int64_t x = 0; x < end; ++x) sum += apart(s.at(v + y, u + x), there(y, x), pixels);
          }
          if (sum <= shortlist.limit()) shortlist.add(sum, static_cast<int32_t>(v * s.width + u));
        }
      const int32_t chosen = shortlist.drawn(a.draws[i * a.columns + j]);
      const int64_t v = chosen / s.width, u = chosen % s.width;
      left.assign(a.block, 0);
      top.assign(a.block, 0);
      if (j > 0) {
        for (int64_t y = 0; y < a.block; ++y)
          for (int64_t x = 0; x < a.overlap; ++x)
            error[y * a.overlap + x] = apart(s.at(v + y, u + x), there(y, x), pixels);
        seam(error, a.block, a.overlap, left);
      }
      if (i > 0) {
        for (int64_t x = 0; x < a.block; ++x)
          for (int64_t y = 0; y < a.overlap; ++y)
            error[x * a.overlap + y] = apart(s.at(v + y, u + x), there(y, x), pixels);
        seam(error, a.block, a.overlap, top);
      }
      for (int64_t y = 0; y < a.block; ++y)
        for (int64_t x = 0; x < a.block; ++x)
          if (!shared(y, x) || (x >= left[y] && y >= top[x])) std::copy_n(s.at(v + y, u + x), pixels, there(y, x));
    }
}

}  // namespace xp
