// A run of V neighbouring positions of one row: which of them an edit keeps, as the device kernel wants it. What
// depends on the position alone is loaded once and then serves all the edits that a thread writes.
//
//   prepare(shared, n, first, last)   the whole block together, before any position is loaded
//   load(run, n, y, x)                once per thread
//   block(run, n, m)                  at the first edit and whenever m % 32 == 0
//   keep(run, n, m) -> bit v          hard edits
//   mask(run, n, m, out[V])           soft edits
#pragma once
#include "core/device.h"
#include "kernels/occlude.h"

namespace xp {

XP_HD uint32_t all_of(int count) { return count >= 32 ? ~0u : (1u << count) - 1u; }

struct WindowRuns {
  WindowEdits edits;
  template <int V>
  struct Run {
    int32_t y, x;
  };
  int shared_bytes(int64_t) const { return 0; }
  XP_D void prepare(uint32_t*, int64_t, int64_t, int64_t) const {}
  template <int V>
  XP_D void load(Run<V>& r, int64_t, int64_t y, int64_t x) const {
    r.y = static_cast<int32_t>(y);
    r.x = static_cast<int32_t>(x);
  }
  template <int V>
  XP_D void block(Run<V>&, int64_t, int64_t) const {}
  template <int V>
  XP_D uint32_t keep(const Run<V>& r, int64_t n, int64_t m) const {
    const Window w = edits.at(n, m);
    const int32_t before = w.x0 > r.x ? w.x0 - r.x : 0, after = w.x1 > r.x ? w.x1 - r.x : 0;
    const int from = before < V ? before : V, to = after < V ? after : V;
    const bool crossed = r.y >= w.y0 && r.y < w.y1 && from < to;
    return crossed ? all_of(V) & ~(all_of(to) & ~all_of(from)) : all_of(V);
  }
};

struct CoalitionRuns {
  CoalitionEdits edits;
  template <int V>
  struct Run {
    int32_t label[V];
    uint32_t word[V];
  };
  int shared_bytes(int64_t) const { return 0; }
  XP_D void prepare(uint32_t*, int64_t, int64_t, int64_t) const {}
  template <int V>
  XP_D void load(Run<V>& r, int64_t n, int64_t y, int64_t x) const {
    XP_UNROLL
    for (int v = 0; v < V; ++v) r.label[v] = edits.label(n, y, x + v);
  }
  template <int V>
  XP_D void block(Run<V>& r, int64_t n, int64_t m) const {
    XP_UNROLL
    for (int v = 0; v < V; ++v) r.word[v] = edits.kept_word(n, m >> 5, r.label[v]);
  }
  template <int V>
  XP_D uint32_t keep(const Run<V>& r, int64_t, int64_t m) const {
    const int bit = static_cast<int>(m & 31);
    uint32_t kept = 0;
    XP_UNROLL
    for (int v = 0; v < V; ++v) kept |= ((r.word[v] >> bit) & 1u) << v;
    return kept;
  }
};

struct RankedRuns {
  RankedEdits edits;
  template <int V>
  struct Run {
    int32_t rank[V];
  };
  int shared_bytes(int64_t) const { return 0; }
  XP_D void prepare(uint32_t*, int64_t, int64_t, int64_t) const {}
  template <int V>
  XP_D void load(Run<V>& r, int64_t n, int64_t y, int64_t x) const {
    XP_UNROLL
    for (int v = 0; v < V; ++v) r.rank[v] = edits.rank[n * edits.item + y * edits.row + (x + v) * edits.col];
  }
  template <int V>
  XP_D void block(Run<V>&, int64_t, int64_t) const {}
  template <int V>
  XP_D uint32_t keep(const Run<V>& r, int64_t, int64_t m) const {
    const int64_t count = edits.counts[m * edits.edit];
    uint32_t kept = 0;
    XP_UNROLL
    for (int v = 0; v < V; ++v) kept |= ((r.rank[v] < count) == edits.insert ? 1u : 0u) << v;
    return kept;
  }
};

// The cells of the edits that a block writes are drawn into shared memory first: no mask is stored in global memory,
// and the drawing is a few percent of the writing.
struct GridRuns {
  GridEdits edits;
  const uint32_t* words = nullptr;  // shared: per edit its shift (y, x) and its cells
  int64_t first = 0;
  template <int V>
  struct Run {
    int32_t y, x;
  };
  XP_HD int pitch() const { return 2 + edits.grid.words(); }
  int shared_bytes(int64_t edits_per_block) const { return static_cast<int>(edits_per_block * pitch() * 4); }
  XP_D void prepare(uint32_t* shared, int64_t, int64_t begin, int64_t end) {
    const GridGeometry& g = edits.grid;
    words = shared;
    first = begin;
    const int64_t count = (end - begin) * (1 + g.words());
    for (int64_t i = thread_x(); i < count; i += threads_x()) {
      const int64_t m = i / (1 + g.words());
      const int32_t w = static_cast<int32_t>(i - m * (1 + g.words())) - 1;
      uint32_t* of_edit = shared + m * pitch();
      if (w >= 0) {
        of_edit[2 + w] = grid_word(g, begin + m, w);
      } else {
        const Shift s = grid_shift(g, begin + m);
        of_edit[0] = static_cast<uint32_t>(s.y);
        of_edit[1] = static_cast<uint32_t>(s.x);
      }
    }
    sync_block();
  }
  template <int V>
  XP_D void load(Run<V>& r, int64_t, int64_t y, int64_t x) const {
    r.y = static_cast<int32_t>(y);
    r.x = static_cast<int32_t>(x);
  }
  template <int V>
  XP_D void block(Run<V>&, int64_t, int64_t) const {}
  // walks the run half pixel by half pixel: the same integers as between(), without a division per position
  template <int V>
  XP_D void mask(const Run<V>& r, int64_t, int64_t m, float (&out)[V]) const {
    const GridGeometry& g = edits.grid;
    const uint32_t* of_edit = words + (m - first) * pitch();
    const Between row = between(g.y, r.y + static_cast<int32_t>(of_edit[0]));
    int32_t rest = half_pixels(g.x, r.x + static_cast<int32_t>(of_edit[1]));
    int32_t j = 0;
    if (rest >= 0) {
      const int32_t cell = cell_of(g.x, rest);
      rest -= 2 * g.x.size * cell;
      j = cell;
    }
    j = j < g.x.last ? j : g.x.last;
    float left = column_value(of_edit + 2, g, row, j);
    float right = column_value(of_edit + 2, g, row, j < g.x.last ? j + 1 : j);
    XP_UNROLL
    for (int v = 0; v < V; ++v) {
      if (rest >= 2 * g.x.size) {
        rest -= 2 * g.x.size;
        j = j < g.x.last ? j + 1 : j;
        left = right;
        right = column_value(of_edit + 2, g, row, j < g.x.last ? j + 1 : j);
      }
      out[v] = lerp(left, right, rest < 0 ? 0.f : static_cast<float>(rest) * g.x.inverse);
      rest += 2;
    }
  }
};

struct FullRuns {
  FullEdits edits;
  template <int V>
  struct Run {
    int32_t y, x;
  };
  int shared_bytes(int64_t) const { return 0; }
  XP_D void prepare(uint32_t*, int64_t, int64_t, int64_t) const {}
  template <int V>
  XP_D void load(Run<V>& r, int64_t, int64_t y, int64_t x) const {
    r.y = static_cast<int32_t>(y);
    r.x = static_cast<int32_t>(x);
  }
  template <int V>
  XP_D void block(Run<V>&, int64_t, int64_t) const {}
  template <int V>
  XP_D void mask(const Run<V>& r, int64_t n, int64_t m, float (&out)[V]) const {
    XP_UNROLL
    for (int v = 0; v < V; ++v) out[v] = edits.value(n, m, r.y, r.x + v);
  }
};

template <class Edits>
struct runs_of;
template <>
struct runs_of<WindowEdits> {
  using type = WindowRuns;
};
template <>
struct runs_of<CoalitionEdits> {
  using type = CoalitionRuns;
};
template <>
struct runs_of<RankedEdits> {
  using type = RankedRuns;
};
template <>
struct runs_of<GridEdits> {
  using type = GridRuns;
};
template <>
struct runs_of<FullEdits> {
  using type = FullRuns;
};

}  // namespace xp
