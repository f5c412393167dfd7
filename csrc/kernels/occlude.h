// Edited copies of items, written straight into a model's input: what "edited" means, once for CPU and CUDA.
//
//   hard edits (windows, coalitions, ranks)   out = kept ? x : fill
//   soft edits (grids, full masks)            out = fill * (1 - mask) + x * mask      exact at mask 0 and 1
//
// with x and fill first taken through an optional v * scale[c] + shift[c]. Row r of the output is edit m = r % M of
// item n = r / M. Tensors are logical [N, C, H, W] whatever their strides: NHWC is a matter of strides alone.
#pragma once
#include "core/dtype.h"
#include "kernels/soft_grid.h"

namespace xp {

struct Window {
  int32_t y0, x0, y1, x1;  // half open; may reach outside the plane
};
XP_HD bool in_window(const Window& w, int64_t y, int64_t x) { return y >= w.y0 && y < w.y1 && x >= w.x0 && x < w.x1; }

XP_HD float blend(float x, float fill, float mask) { return fill * (1.f - mask) + x * mask; }
XP_HD float normalise(float v, const float* scale, const float* shift, int64_t c) {
  return scale ? v * scale[c] + shift[c] : v;
}

// Element strides of a logical [N, C, H, W] tensor.
struct Strides4 {
  int64_t n, c, y, x;
};

struct OccludeArgs {
  const float* x;
  Strides4 xs;
  const float* fill;
  Strides4 fs;
  const float* scale;  // [C], or null for none
  const float* shift;
  void* out;  // rows [stop - start] of contiguous items
  Strides4 os;
  int64_t channels, height, width;
  int64_t edits;        // M
  int64_t start, stop;  // rows r = n * M + m
};

// The five kinds of edit. Arrays are strided by item (0 when all items share them) and by edit where they have one.
struct WindowEdits {
  static constexpr bool hard = true;
  const int32_t* boxes;  // [N, M, 4]
  int64_t item, edit;
  XP_HD Window at(int64_t n, int64_t m) const {
    const int32_t* b = boxes + n * item + m * edit;
    return Window{b[0], b[1], b[2], b[3]};
  }
};
struct CoalitionEdits {
  static constexpr bool hard = true;
  const int32_t* labels;  // [N, H, W]; -1 is never hidden
  int64_t label_item, label_y, label_x;
  const uint8_t* keep;     // [N, M, S] bytes, or null when packed
  const uint32_t* packed;  // [N, ceil(M / 32), S]: bit m % 32 of word m / 32
  int64_t keep_item, keep_edit, keep_feature;
  uint32_t features;  // S
  XP_HD int32_t label(int64_t n, int64_t y, int64_t x) const {
    return labels[n * label_item + y * label_y + x * label_x];
  }
  // a label outside 0..S-1 is never hidden: -1 by definition, larger ones so that no table is read out of bounds
  XP_HD uint32_t kept_word(int64_t n, int64_t block, int32_t label) const {
    return static_cast<uint32_t>(label) >= features ? ~0u
                                                    : packed[n * keep_item + block * keep_edit + label * keep_feature];
  }
  XP_HD bool kept(int64_t n, int64_t m, int32_t label) const {
    if (packed) return (kept_word(n, m >> 5, label) >> (m & 31)) & 1u;
    return static_cast<uint32_t>(label) >= features || keep[n * keep_item + m * keep_edit + label * keep_feature] != 0;
  }
};
struct RankedEdits {
  static constexpr bool hard = true;
  const int32_t* rank;  // [N, H, W]
  int64_t item, row, col;
  const int64_t* counts;  // [M]
  int64_t edit;
  bool insert;
  XP_HD bool kept(int64_t n, int64_t m, int64_t y, int64_t x) const {
    return (rank[n * item + y * row + x * col] < counts[m * edit]) == insert;
  }
};
struct GridEdits {
  static constexpr bool hard = false;
  GridGeometry grid;
};
struct FullEdits {
  static constexpr bool hard = false;
  const float* masks;  // [N, M, H, W]
  int64_t item, edit, row, col;
  XP_HD float value(int64_t n, int64_t m, int64_t y, int64_t x) const {
    return masks[n * item + m * edit + y * row + x * col];
  }
};

// Bit m % 32 of word [n, m / 32, s] is 1 where keep[n, m, s] is not 0; bits past M are 0.
struct PackKeep {
  const uint8_t* keep;
  int64_t item, edit, feature;
  int64_t edits, features;
  uint32_t* words;  // contiguous [N, ceil(M / 32), S]
  XP_HD void operator()(int64_t i) const {
    const int64_t s = i % features, block = i / features % ceil_div(edits, 32), n = i / features / ceil_div(edits, 32);
    uint32_t word = 0;
    for (int64_t m = 32 * block; m < min64(edits, 32 * block + 32); ++m)
      word |= (keep[n * item + m * edit + s * feature] ? 1u : 0u) << (m - 32 * block);
    words[i] = word;
  }
};

// `out_type` is f32, f16, bf16, f64 or u8. No allocation of picture size; the same bits for any start, stop, number of
// threads and device.
template <class Edits>
void occlude_cpu(const OccludeArgs& args, const Edits& edits, DType out_type, int threads);

// The same on `device`, in the order of `stream` (a cudaStream_t). Coalitions must be packed. Throws std::runtime_error
// naming the kernel when a launch fails.
void pack_keep_cpu(const PackKeep& pack, int64_t words, int threads);
void pack_keep_device(const PackKeep& pack, int64_t words, int device, uintptr_t stream);
template <class Edits>
void occlude_device(const OccludeArgs& args, const Edits& edits, DType out_type, int device, uintptr_t stream);

}  // namespace xp
