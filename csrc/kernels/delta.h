// What a changed window does to a network: kernels over deltas, `delta = masked - base`, which are zero outside a
// rectangle per mask. One tensor of N masks is N rectangles of any size in one buffer, pixel after pixel, channels
// last. Linear operators act on deltas alone, so neither context nor padding is ever gathered; the base is read where
// a value itself matters: act(base + delta) - act(base).
//
// Channels are stored in whole groups of kLane; those past the last true channel are zero, in deltas and in base maps.
#pragma once
#include "core/dtype.h"

namespace xp::delta {

constexpr int64_t kLane = 16;         // channels are padded to a multiple of this
constexpr int64_t kPanel = 32;        // output channels that one weight panel computes
constexpr int64_t kWindowFields = 6;  // int64 per window

// One mask's rectangle of one tensor: position and size in the plane, where its first pixel lies in the buffer and how
// far its rows are apart, both in elements. A view of part of a tensor is another Window on the same buffer.
struct Window {
  int64_t y, x, h, w, offset, pitch;

  bool empty() const { return h <= 0 || w <= 0; }
  bool holds(int64_t py, int64_t px) const { return py >= y && py < y + h && px >= x && px < x + w; }
};

template <class T>
struct Deltas {
  const Window* windows = nullptr;  // null: there is no such operand
  T* data = nullptr;
  int64_t step = 0;  // elements from one pixel to the next

  // pixel (py, px) of the plane, which must lie inside mask m's window
  T* at(int64_t m, int64_t py, int64_t px) const {
    const Window& w = windows[m];
    return data + w.offset + (py - w.y) * w.pitch + (px - w.x) * step;
  }
  T* find(int64_t m, int64_t py, int64_t px) const {
    return windows && windows[m].holds(py, px) ? at(m, py, px) : nullptr;
  }
};

// The unmasked values of a tensor: [height, width, step] float32.
struct Base {
  const float* data = nullptr;
  int64_t height = 0, width = 0, step = 0;

  const float* at(int64_t y, int64_t x) const { return data + (y * width + x) * step; }
};

enum class Bend : int64_t { none, clip, leaky };

// The activations that kernels fuse: clip(v) = min(max(v, low), high); leaky(v) = v < 0 ? low * v : v.
struct Activation {
  Bend bend = Bend::none;
  float low = 0.f, high = 0.f;
};

struct Geometry {
  int64_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x;
};

// out = act(base + conv(in) + residual) - act(base); where `act` is none the base is not read.
struct ConvArgs {
  int64_t masks, channels_in, channels_out;  // stored channels
  Geometry geometry;
  const int64_t* panels;  // [panels, 3]: first input channel, their number, where the panel's weights begin
  int64_t panel_count;
  Base base;
  Activation act;
  // where scale is given (1x1 kernels of stride 1 only), the input is load_act(scale * v + shift) of what is stored
  const float *scale = nullptr, *shift = nullptr;
  Base load_base;
  Activation load_act;
  int threads;
  int processor;  // at most this variant of the kernel, see delta_variants.h
};

// Indirect GEMM: weights [panel][tap][channel][kPanel] (bf16: channels in pairs, [panel][tap][channel / 2][kPanel][2]).
// Taps that lie outside the window are skipped, by row and by column.
template <class T>
void conv(const ConvArgs& a, Deltas<const T> in, Deltas<T> out, Deltas<const T> residual, const T* weights);

// Whether pairs of bf16 are multiplied faster than floats: AMD's processors do 64 products where they do 32 of floats;
// Intel's do half as many as of floats (a Xeon of 2024: 49 against 90 GMAC/s in registers).
bool pairs_pay();

// 3x3, stride 1, without groups, as Winograd F(4x4, 3x3); weights [36][panel][channel][kPanel], see transform_weights.
void winograd(const ConvArgs& a, Deltas<const float> in, Deltas<float> out, Deltas<const float> residual,
              const float* weights);

// One kernel per channel: weights [tap][channels] float32.
template <class T>
void depthwise(const ConvArgs& a, Deltas<const T> in, Deltas<T> out, Deltas<const T> residual, const float* weights);

enum class Pool : int64_t { max, mean_inside, mean_all };

struct PoolArgs {
  int64_t masks, channels;
  Geometry geometry;
  int64_t pad_bottom, pad_right;
  Pool pool;
  Base in, out;  // max alone reads them; mean_* read their extents
  int threads;
};
template <class T>
void pool(const PoolArgs& a, Deltas<const T> in, Deltas<T> out);

// Element-wise functions of one tensor: f(base + delta) - f(base).
enum class Unary : int64_t {
  clip,
  leaky,  // slope per channel
  sigmoid,
  tanh,
  hard_sigmoid,
  hard_swish,
  elu,
  selu,
  softplus,
  gelu,
  exp,
  erf,
  abs
};
struct UnaryArgs {
  int64_t masks, channels;
  Unary function;
  float low, high;             // clip's bounds, hard_sigmoid's slope and offset, elu's and selu's alpha and gamma
  const float *scale, *shift;  // [channels] or null: the function's argument is scale * v + shift
  const float* slope;          // [channels], leaky alone
  Base base;
  int threads;
};
template <class T>
void unary(const UnaryArgs& a, Deltas<const T> in, Deltas<T> out);

// out = act(base + a +- b) - act(base), or base_a * b + base_b * a + a * b. Operands may lack, which means zero.
enum class Binary : int64_t { add, subtract, multiply };
struct BinaryArgs {
  int64_t masks, channels;
  Binary function;
  Base first, second;  // multiply alone
  Base base;           // add and subtract with an activation
  Activation act;
  int threads;
};
template <class T>
void binary(const BinaryArgs& a, Deltas<const T> first, Deltas<const T> second, Deltas<T> out);

// out = scale[c] * in: what an affine map of the values does to a delta.
template <class T>
void scale(int64_t masks, int64_t channels, const float* factors, Deltas<const T> in, Deltas<T> out, int threads);

// out pixel (y, x) is in pixel (rows[y], columns[x]); pixels whose source is not in the window are zero. Exactly
// `channels` elements are written per pixel, so parts of any width lie side by side.
template <class T>
void gather(int64_t masks, int64_t channels, const int64_t* rows, const int64_t* columns, Deltas<const T> in,
            Deltas<T> out, int threads);

// Zeroes the pixels of `outer` that lie outside `inner`, `channels` of each: the rim of a part of a larger tensor.
template <class T>
void clear_rim(int64_t masks, int64_t channels, const Window* inner, Deltas<T> outer, int threads);

// The edit itself: out = fill - x inside each window; x and fill are NHWC maps padded to kLane channels.
template <class T>
void enter(int64_t masks, int64_t channels, Base x, Base fill, Deltas<T> out, int threads);

// out [masks, channels, height, width] = base + delta, in the runtime's layout; `channels` are the true ones.
template <class T>
void leave(int64_t masks, int64_t channels, Base base, Deltas<const T> in, float* out, int threads);

// out [masks, channels] = base[c] + factor * sum of delta over the plane.
template <class T>
void plane_mean(int64_t masks, int64_t channels, const float* base, float factor, Deltas<const T> in, float* out,
                int threads);

// [channels, height, width] -> [height, width, step], zeros past the last channel.
void channels_last(int64_t channels, int64_t height, int64_t width, int64_t step, const float* in, float* out);

}  // namespace xp::delta
