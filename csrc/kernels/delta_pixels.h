// Output pixels grouped by the kernel taps that reach into the window, so that a tile of pixels skips the taps that
// none of them needs.
#pragma once
#include <algorithm>
#include <map>
#include <vector>

#include "kernels/delta.h"

namespace xp::delta {

// A rectangle of output pixels of one mask whose live kernel rows and columns are the same, as bit sets.
struct Block {
  int64_t mask, y, x, h, w, first;  // first: its first pixel's number in the list
  uint32_t rows, columns;
};

class PixelList {
 public:
  PixelList(int64_t masks, const Geometry& g, const Window* in, const Window* out) {
    std::map<uint64_t, std::vector<Block>> classes;
    std::vector<Run> rows, columns;
    for (int64_t m = 0; m < masks; ++m) {
      const Window &i = in[m], &o = out[m];
      if (o.empty()) continue;
      runs(o.y, o.h, g.stride_y, g.pad_y, g.dilation_y, g.kernel_y, i.y, i.empty() ? 0 : i.h, rows);
      runs(o.x, o.w, g.stride_x, g.pad_x, g.dilation_x, g.kernel_x, i.x, i.empty() ? 0 : i.w, columns);
      for (const Run& r : rows)
        for (const Run& c : columns)
          classes[(static_cast<uint64_t>(r.live) << 32) | c.live].push_back(
              Block{m, r.begin, c.begin, r.count, c.count, 0, r.live, c.live});
    }
    for (auto& [key, members] : classes)
      for (Block& b : members) {
        b.first = pixels_;
        pixels_ += b.h * b.w;
        blocks_.push_back(b);
      }
  }

  int64_t pixels() const { return pixels_; }

  // f(mask, y, x, block) for the pixels begin..end of the list, in order
  template <class F>
  void walk(int64_t begin, int64_t end, F f) const {
    auto at = std::upper_bound(blocks_.begin(), blocks_.end(), begin,
                               [](int64_t pixel, const Block& b) { return pixel < b.first; });
    for (auto b = at - 1; begin < end; ++b) {
      const int64_t stop = min64(end, b->first + b->h * b->w);
      int64_t y = (begin - b->first) / b->w, x = (begin - b->first) % b->w;
      for (; begin < stop; ++begin) {
        f(b->mask, b->y + y, b->x + x, *b);
        if (++x == b->w) x = 0, ++y;
      }
    }
  }

 private:
  struct Run {
    int64_t begin, count;
    uint32_t live;
  };

  // Cuts outputs begin..begin+count of one axis where the set of taps that fall into [low, low + extent) changes.
  static void runs(int64_t begin, int64_t count, int64_t stride, int64_t pad, int64_t dilation, int64_t kernel,
                   int64_t low, int64_t extent, std::vector<Run>& out) {
    out.clear();
    for (int64_t o = begin; o < begin + count; ++o) {
      uint32_t live = 0;
      for (int64_t k = 0; k < kernel; ++k) {
        const int64_t at = o * stride - pad + k * dilation - low;
        live |= static_cast<uint32_t>(at >= 0 && at < extent) << k;
      }
      if (!out.empty() && out.back().live == live)
        ++out.back().count;
      else
        out.push_back(Run{o, 1, live});
    }
  }

  std::vector<Block> blocks_;
  int64_t pixels_ = 0;
};

}  // namespace xp::delta
