// One row of the plane at a time: which of its positions an edit keeps, as the CPU loops want it.
//
//   block(n, begin, end)   once for up to 32 edits of one item
//   codes(y, code)         hard edits: what a position of the row is, whichever the edit (written once for all of them)
//   keep(m, y)             hard edits: whether all, none or some of the row is kept, and the question to a code
//   mask(m, y, mask)       soft edits: the row's mask, with room for a vector after its end
//
// Codes and masks say every position `repeat` times: as often as an interleaved row has channels, else once.
#pragma once
#include <vector>

#include "kernels/occlude.h"

namespace xp {

constexpr int64_t kEditBlock = 32;
constexpr int64_t kVector = 16;  // floats of the widest register

template <class V>
void repeat_each(V* row, int64_t width, int64_t repeat) {
  if (repeat == 1) return;
  for (int64_t x = width - 1; x >= 0; --x)
    for (int64_t c = repeat - 1; c >= 0; --c) row[x * repeat + c] = row[x];
}

enum class RowKind { all_kept, all_filled, mixed };

// Hidden where low <= code < low + span, which for unsigned numbers is one subtraction and one comparison.
struct OutsideRange {
  uint32_t low, span;
  RowKind kind;
  XP_HD bool operator()(uint32_t code) const { return code - low >= span; }
  bool same(const OutsideRange& o) const {
    return kind == o.kind && (kind != RowKind::mixed || (low == o.low && span == o.span));
  }
};
struct HasBit {
  uint32_t bit;
  RowKind kind;
  XP_HD bool operator()(uint32_t code) const { return (code & bit) != 0; }
  bool same(const HasBit&) const { return true; }
};

struct WindowRows {
  using Keep = OutsideRange;  // of columns
  const WindowEdits& edits;
  int64_t width, repeat, n = 0;
  WindowRows(const WindowEdits& e, int64_t w, int64_t r) : edits(e), width(w), repeat(r) {}
  void block(int64_t item, int64_t, int64_t) { n = item; }
  void codes(int64_t, uint32_t* code) const {
    for (int64_t x = 0; x < width; ++x) code[x] = static_cast<uint32_t>(x);
    repeat_each(code, width, repeat);
  }
  Keep keep(int64_t m, int64_t y) const {
    const Window w = edits.at(n, m);
    const int64_t x0 = max64(w.x0, 0), x1 = min64(w.x1, width);
    if (y < w.y0 || y >= w.y1 || x0 >= x1) return {0, 0, RowKind::all_kept};
    const bool whole = x0 == 0 && x1 == width;
    return {static_cast<uint32_t>(x0), static_cast<uint32_t>(x1 - x0), whole ? RowKind::all_filled : RowKind::mixed};
  }
};

struct CoalitionRows {
  using Keep = HasBit;
  const CoalitionEdits& edits;
  int64_t width, repeat, n = 0, m0 = 0;
  std::vector<uint32_t> packed;  // per feature one bit per edit of the block
  CoalitionRows(const CoalitionEdits& e, int64_t w, int64_t r) : edits(e), width(w), repeat(r), packed(e.features) {}
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
  void codes(int64_t y, uint32_t* code) const {
    for (int64_t x = 0; x < width; ++x) {
      const uint32_t label = static_cast<uint32_t>(edits.label(n, y, x));
      code[x] = label < edits.features ? packed[label] : ~0u;
    }
    repeat_each(code, width, repeat);
  }
  Keep keep(int64_t m, int64_t) const { return {1u << (m - m0), RowKind::mixed}; }
};

struct RankedRows {
  using Keep = OutsideRange;  // of ranks, moved up by 2^31 so that they count from 0
  const RankedEdits& edits;
  int64_t width, repeat, n = 0;
  RankedRows(const RankedEdits& e, int64_t w, int64_t r) : edits(e), width(w), repeat(r) {}
  void block(int64_t item, int64_t, int64_t) { n = item; }
  void codes(int64_t y, uint32_t* code) const {
    const int32_t* rank = edits.rank + n * edits.item + y * edits.row;
    for (int64_t x = 0; x < width; ++x) code[x] = static_cast<uint32_t>(rank[x * edits.col]) ^ 0x80000000u;
    repeat_each(code, width, repeat);
  }
  Keep keep(int64_t m, int64_t) const {
    constexpr int64_t half = int64_t{1} << 31;
    const int64_t below = min64(max64(edits.counts[m * edits.edit], -half), half) + half;  // codes that are < count
    const int64_t low = edits.insert ? below : 0, span = edits.insert ? 2 * half - below : below;
    if (span == 0) return {0, 0, RowKind::all_kept};
    if (span == 2 * half) return {0, 0, RowKind::all_filled};
    return {static_cast<uint32_t>(low), static_cast<uint32_t>(span), RowKind::mixed};
  }
};

// Between the centres of two neighbouring cells a row is a straight line. Each stretch is drawn in whole vectors; what
// it writes past its end, the next one overwrites.
template <class V>
XP_CLONES void draw_stretches(V* __restrict mask, const V* __restrict share, const int64_t* first, const V* column,
                              int64_t cells, int64_t width) {
  for (int64_t j = 0; j < cells; ++j) {
    const int64_t begin = max64(first[j], 0), end = min64(first[j + 1], width);
    const V a = column[j], b = column[j + 1];
    for (int64_t i = begin; i < end; i += kVector)
      for (int64_t v = 0; v < kVector; ++v) mask[i + v] = lerp(a, b, share[i + v]);
  }
}

// The grid's own work per mask is its few cells; per row one value per grid column; per pixel one multiply-add.
struct GridRows {
  const GridGeometry& g;
  int64_t width, repeat, m0 = 0;
  std::vector<float> share;      // by enlarged column t, each `repeat` times
  std::vector<int64_t> first_t;  // where grid column j begins to be the left neighbour
  std::vector<uint32_t> words;
  std::vector<Shift> shifts;
  mutable std::vector<float> columns;
  mutable std::vector<int64_t> first;  // first_t of one mask
  GridRows(const GridEdits& e, int64_t w, int64_t r)
      : g(e.grid),
        width(w),
        repeat(r),
        share((w + g.x.size) * r + kVector),
        first_t(g.cols() + 1),
        words(kEditBlock * g.words()),
        shifts(kEditBlock),
        columns(g.cols() + 1),
        first(g.cols() + 1) {
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
    repeat_each(share.data(), extent, repeat);
  }
  void block(int64_t, int64_t begin, int64_t end) {
    m0 = begin;
    for (int64_t m = begin; m < end; ++m) {
      shifts[m - begin] = grid_shift(g, m);
      for (int32_t w = 0; w < g.words(); ++w) words[(m - begin) * g.words() + w] = grid_word(g, m, w);
    }
  }
  void mask(int64_t m, int64_t y, float* mask) const {
    const Shift shift = shifts[m - m0];
    const Between at = between(g.y, static_cast<int32_t>(y + shift.y));
    for (int32_t j = 0; j < g.cols(); ++j) columns[j] = column_value(&words[(m - m0) * g.words()], g, at, j);
    columns[g.cols()] = columns[g.x.last];
    for (int32_t j = 0; j <= g.cols(); ++j) first[j] = (first_t[j] - shift.x) * repeat;
    draw_stretches(mask, &share[shift.x * repeat], first.data(), columns.data(), g.cols(), width * repeat);
  }
};

struct FullRows {
  const FullEdits& edits;
  int64_t width, repeat, n = 0;
  FullRows(const FullEdits& e, int64_t w, int64_t r) : edits(e), width(w), repeat(r) {}
  void block(int64_t item, int64_t, int64_t) { n = item; }
  void mask(int64_t m, int64_t y, float* mask) const {
    for (int64_t x = 0; x < width; ++x) mask[x] = edits.value(n, m, y, x);
    repeat_each(mask, width, repeat);
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
