// A thread handles eight elements, one byte of bits, by 16-byte accesses. No __restrict__: the result may be in place.
#include "kernels/relu.h"

#include "core/device.h"

namespace xp {
namespace {

// all bits of a half set where its value is <= 0: one instruction for a pair of 16-bit values
template <class T>
XP_D uint32_t not_positive_pair(uint32_t pair) {
#if defined(__CUDA_ARCH__)
  uint32_t result;
  if constexpr (std::is_same_v<T, f16>) {
    __half2 v;
    memcpy(&v, &pair, 4);
    result = __hle2_mask(v, __float2half2_rn(0.f));
  } else {
    __nv_bfloat162 v;
    memcpy(&v, &pair, 4);
    result = __hle2_mask(v, __float2bfloat162_rn(0.f));
  }
  return result;
#else
  const T low{static_cast<uint16_t>(pair)}, high{static_cast<uint16_t>(pair >> 16)};
  return (not_positive(low) ? 0xffffu : 0u) | (not_positive(high) ? 0xffff0000u : 0u);
#endif
}
XP_D uint32_t halves(uint32_t two_bits) { return (two_bits & 1u) * 0xffffu | ((two_bits >> 1) & 1u) * 0xffff0000u; }

template <class T>
using Eight = Vec<T, 8>;

// Eight elements in 16-byte pieces; the compiler would otherwise split an under-aligned 32-byte access.
template <class T>
XP_D Eight<T> load8(const T* from) {
  constexpr int V = 16 / sizeof(T);
  Eight<T> r;
  XP_UNROLL
  for (int k = 0; k < 8 / V; ++k) {
    const Vec<T, V> piece = reinterpret_cast<const Vec<T, V>*>(from)[k];
    XP_UNROLL
    for (int v = 0; v < V; ++v) r.v[k * V + v] = piece.v[v];
  }
  return r;
}
template <class T>
XP_D void store8(T* to, const Eight<T>& r) {
  constexpr int V = 16 / sizeof(T);
  XP_UNROLL
  for (int k = 0; k < 8 / V; ++k) {
    Vec<T, V> piece;
    XP_UNROLL
    for (int v = 0; v < V; ++v) piece.v[v] = r.v[k * V + v];
    reinterpret_cast<Vec<T, V>*>(to)[k] = piece;
  }
}

template <ReluRule rule, class T>
XP_D void backward8(Eight<T>& g, const Eight<T>* x, uint32_t bits) {
  if constexpr (sizeof(T) == 2) {
    uint32_t gw[4], xw[4] = {};
    memcpy(gw, &g, 16);
    if (x) memcpy(xw, x, 16);
    XP_UNROLL
    for (int i = 0; i < 4; ++i) {
      uint32_t zero = 0;
      if (rule != ReluRule::deconvnet) zero |= x ? not_positive_pair<T>(xw[i]) : ~halves(bits >> (2 * i));
      if (rule != ReluRule::gradient) zero |= not_positive_pair<T>(gw[i]);
      gw[i] &= ~zero;
    }
    memcpy(&g, gw, 16);
  } else {
    XP_UNROLL
    for (int e = 0; e < 8; ++e) g.v[e] = relu_backward<rule>(x ? not_positive(x->v[e]) : !((bits >> e) & 1u), g.v[e]);
  }
}

template <class T, ReluRule rule, bool from_bits, bool aligned>
XP_KERNEL void XP_BOUNDS(256, 4) backward_kernel(ReluBackwardArgs a) {
  const T *x = static_cast<const T*>(a.x), *g = static_cast<const T*>(a.g);
  T* dx = static_cast<T*>(a.dx);
  const int64_t bytes = ceil_div(a.count, 8);
  for (int64_t b = int64_t{block_x()} * 256 + thread_x(); b < bytes; b += int64_t{blocks_x()} * 256) {
    const uint32_t bits = from_bits ? a.bits[b] : 0u;
    if (aligned && 8 * b + 8 <= a.count) {
      Eight<T> gv = load8(g + 8 * b);
      if constexpr (!from_bits && rule != ReluRule::deconvnet) {
        const Eight<T> xv = load8(x + 8 * b);
        backward8<rule>(gv, &xv, bits);
      } else {
        backward8<rule>(gv, static_cast<const Eight<T>*>(nullptr), bits);
      }
      store8(dx + 8 * b, gv);
    } else {
      for (int64_t i = 8 * b; i < min64(8 * b + 8, a.count); ++i) {
        const bool off =
            rule != ReluRule::deconvnet && (from_bits ? !((bits >> (i - 8 * b)) & 1u) : not_positive(x[i]));
        dx[i] = relu_backward<rule>(off, g[i]);
      }
    }
  }
}

template <class T, bool aligned>
XP_KERNEL void XP_BOUNDS(256, 4) forward_kernel(ReluForwardArgs a) {
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  const int64_t bytes = ceil_div(a.count, 8);
  for (int64_t b = int64_t{block_x()} * 256 + thread_x(); b < bytes; b += int64_t{blocks_x()} * 256) {
    uint32_t bits = 0;
    if (aligned && 8 * b + 8 <= a.count) {
      Eight<T> v = load8(x + 8 * b);
      XP_UNROLL
      for (int e = 0; e < 8; ++e) {
        const bool off = not_positive(v.v[e]);
        bits |= (off ? 0u : 1u) << e;
        v.v[e] = zero_if(off, v.v[e]);
      }
      store8(y + 8 * b, v);
    } else {
      for (int64_t i = 8 * b; i < min64(8 * b + 8, a.count); ++i) {
        const bool off = not_positive(x[i]);
        bits |= (off ? 0u : 1u) << (i - 8 * b);
        y[i] = zero_if(off, x[i]);
      }
    }
    a.bits[b] = static_cast<uint8_t>(bits);
  }
}

Dim3 grid_of(int64_t count) { return Dim3(static_cast<unsigned>(min64(ceil_div(count, 8 * 256), 132 * 64))); }

bool aligned16(std::initializer_list<const void*> pointers) {
  uintptr_t all = 0;
  for (const void* p : pointers) all |= reinterpret_cast<uintptr_t>(p);
  return all % 16 == 0;
}

}  // namespace

void relu_backward_device(const ReluBackwardArgs& a, int device, uintptr_t stream_handle) {
  if (a.count == 0) return;
  const DeviceGuard guard(device);
  const auto stream = reinterpret_cast<Stream>(stream_handle);
  for_relu("relu_backward", a.dtype, a.rule, [&](auto tag, auto rule) {
    using T = decltype(tag);
    const bool wide = aligned16({a.bits ? nullptr : a.x, a.g, a.dx});
    const auto go = [&](auto kernel) { launch("relu_backward", kernel, grid_of(a.count), 256, 0, stream, a); };
    if (a.bits)
      go(wide ? &backward_kernel<T, rule(), true, true> : &backward_kernel<T, rule(), true, false>);
    else
      go(wide ? &backward_kernel<T, rule(), false, true> : &backward_kernel<T, rule(), false, false>);
  });
}

void relu_forward_bits_device(const ReluForwardArgs& a, int device, uintptr_t stream_handle) {
  if (a.count == 0) return;
  const DeviceGuard guard(device);
  for_relu("relu_forward_bits", a.dtype, ReluRule::gradient, [&](auto tag, auto) {
    using T = decltype(tag);
    launch("relu_forward_bits", aligned16({a.x, a.y}) ? &forward_kernel<T, true> : &forward_kernel<T, false>,
           grid_of(a.count), 256, 0, reinterpret_cast<Stream>(stream_handle), a);
  });
}

}  // namespace xp
