// One row of the plane at a time: which of its positions an edit keeps, as the CPU loops want it. A row source is set
// to a block of up to 32 edits of one item, then to a row, then asked edit by edit.
#pragma once
#include <vector>

#include "kernels/occlude.h"

namespace xp {

constexpr int64_t kEditBlock = 32;

enum class RowKind { all_kept, all_filled, mixed };

// all bits set where kept, so that a selection is two ANDs and an OR
template <class K>
XP_CLONES void keep_outside(K* keep, int64_t width, int64_t x0, int64_t x1) {
  for (int64_t x = 0; x < width; ++x) keep[x] = x >= x0 && x < x1 ? K{0} : static_cast<K>(~K{0});
}
template <class K>
XP_CLONES void keep_bit(K* keep, const uint32_t* words, int64_t width, int bit) {
  for (int64_t x = 0; x < width; ++x) keep[x] = static_cast<K>(K{0} - static_cast<K>((words[x] >> bit) & 1u));
}
template <class K>
XP_CLONES void keep_compared(K* keep, const int64_t* rank, int64_t width, int64_t count, bool insert) {
  for (int64_t x = 0; x < width; ++x) keep[x] = (rank[x] < count) == insert ? static_cast<K>(~K{0}) : K{0};
}
template <class V>
XP_CLONES void lerp_run(V* mask, const float* share, int64_t count, float a, float b) {
  for (int64_t i = 0; i < count; ++i) mask[i] = lerp(a, b, share[i]);
}

struct WindowRows {
  const WindowEdits& edits;
  int64_t width, n = 0, y = 0;
  WindowRows(const WindowEdits& e, int64_t w) : edits(e), width(w) {}
  void block(int64_t item, int64_t, int64_t) { n = item; }
  void row(int64_t at) { y = at; }
  template <class K>
  RowKind keep(int64_t m, K* keep) const {
    const Window w = edits.at(n, m);
    const int64_t x0 = max64(w.x0, 0), x1 = min64(w.x1, width);
    if (y < w.y0 || y >= w.y1 || x0 >= x1) return RowKind::all_kept;
    if (x0 == 0 && x1 == width) return RowKind::all_filled;
    keep_outside(keep, width, x0, x1);
    return RowKind::mixed;
  }
};

struct CoalitionRows {
  const CoalitionEdits& edits;
  int64_t width, n = 0, m0 = 0;
  std::vector<uint32_t> packed, words;  // one bit per edit of the block: per feature, per position of the row
  CoalitionRows(const CoalitionEdits& e, int64_t w) : edits(e), width(w), packed(e.features), words(w) {}
  void block(int64_t item, int64_t begin, int64_t end) {
    n = item;
    m0 = begin;
    for (uint32_t s = 0; s < edits.features; ++s) {
      uint32_t word = 0;
      for (int64_t m = begin; m < end; ++m)
        word |= (edits.kept(n, m, static_cast<int32_t>(s)) ? 1u : 0u) << (m - begin);
      packed[s] = word;
    }
  }
  void row(int64_t y) {
    for (int64_t x = 0; x < width; ++x) {
      const uint32_t label = static_cast<uint32_t>(edits.label(n, y, x));
      words[x] = label < edits.features ? packed[label] : ~0u;
    }
  }
  template <class K>
  RowKind keep(int64_t m, K* keep) const {
    keep_bit(keep, words.data(), width, static_cast<int>(m - m0));
    return RowKind::mixed;
  }
};

struct RankedRows {
  const RankedEdits& edits;
  int64_t width, n = 0;
  std::vector<int64_t> rank;
  RankedRows(const RankedEdits& e, int64_t w) : edits(e), width(w), rank(w) {}
  void block(int64_t item, int64_t, int64_t) { n = item; }
  void row(int64_t y) {
    for (int64_t x = 0; x < width; ++x) rank[x] = edits.rank[n * edits.item + y * edits.row + x * edits.col];
  }
  template <class K>
  RowKind keep(int64_t m, K* keep) const {
    keep_compared(keep, rank.data(), width, edits.counts[m * edits.edit], edits.insert);
    return RowKind::mixed;
  }
};

// The grid's own work per mask is its few cells; per row one value per grid column; per pixel one multiply-add.
struct GridRows {
  const GridGeometry& g;
  int64_t width, m0 = 0, y = 0;
  std::vector<float> share;      // by enlarged column t
  std::vector<int64_t> first_t;  // where grid column j begins to be the left neighbour
  std::vector<uint32_t> words;
  std::vector<Shift> shifts;
  mutable std::vector<float> columns;
  GridRows(const GridEdits& e, int64_t w)
      : g(e.grid),
        width(w),
        share(w + g.x.size),
        first_t(g.cols() + 1),
        words(kEditBlock * g.words()),
        shifts(kEditBlock),
        columns(g.cols() + 1) {
    const int64_t extent = w + g.x.size;
    int64_t t = 0;
    for (int32_t j = 0; j < g.cols(); ++j) {
      first_t[j] = t;
      for (; t < extent; ++t) {
        const Between at = between(g.x, static_cast<int32_t>(t));
        if (at.index != j) break;
        share[t] = at.share;
      }
    }
    first_t[g.cols()] = extent;
  }
  void block(int64_t, int64_t begin, int64_t end) {
    m0 = begin;
    for (int64_t m = begin; m < end; ++m) {
      shifts[m - begin] = grid_shift(g, m);
      for (int32_t w = 0; w < g.words(); ++w) words[(m - begin) * g.words() + w] = grid_word(g, m, w);
    }
  }
  void row(int64_t at) { y = at; }
  void mask(int64_t m, float* mask) const {
    const Shift shift = shifts[m - m0];
    const Between at = between(g.y, static_cast<int32_t>(y + shift.y));
    for (int32_t j = 0; j < g.cols(); ++j) columns[j] = column_value(&words[(m - m0) * g.words()], g, at, j);
    columns[g.cols()] = columns[g.x.last];
    for (int32_t j = 0; j < g.cols(); ++j) {
      const int64_t begin = max64(first_t[j] - shift.x, 0), end = min64(first_t[j + 1] - shift.x, width);
      if (begin < end) lerp_run(mask + begin, &share[begin + shift.x], end - begin, columns[j], columns[j + 1]);
    }
  }
};

struct FullRows {
  const FullEdits& edits;
  int64_t width, n = 0, y = 0;
  FullRows(const FullEdits& e, int64_t w) : edits(e), width(w) {}
  void block(int64_t item, int64_t, int64_t) { n = item; }
  void row(int64_t at) { y = at; }
  void mask(int64_t m, float* mask) const {
    for (int64_t x = 0; x < width; ++x) mask[x] = edits.value(n, m, y, x);
  }
};

template <class Edits>
struct rows_of;
template <>
struct rows_of<WindowEdits> {
  using type = WindowRows;
};
template <>
struct rows_of<CoalitionEdits> {
  using type = CoalitionRows;
};
template <>
struct rows_of<RankedEdits> {
  using type = RankedRows;
};
template <>
struct rows_of<GridEdits> {
  using type = GridRows;
};
template <>
struct rows_of<FullEdits> {
  using type = FullRows;
};

}  // namespace xp
