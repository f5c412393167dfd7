#include "kernels/relu.h"

#include "core/parallel_for.h"

namespace xp {
namespace {

constexpr int64_t kGrain = 1 << 17;  // elements per thread at least

template <class T, ReluRule rule>
XP_CLONES void backward_values(const T* x, const T* g, T* dx, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dx[i] = relu_backward<rule>(rule != ReluRule::deconvnet && not_positive(x[i]), g[i]);
}
template <class T, ReluRule rule>
XP_CLONES void backward_bits(const uint8_t* bits, const T* g, T* dx, int64_t n) {
  const int64_t whole = n / 8;
  for (int64_t b = 0; b < whole; ++b)
    for (int e = 0; e < 8; ++e) dx[8 * b + e] = relu_backward<rule>(!((bits[b] >> e) & 1u), g[8 * b + e]);
  for (int64_t i = 8 * whole; i < n; ++i) dx[i] = relu_backward<rule>(!((bits[whole] >> (i % 8)) & 1u), g[i]);
}
template <class T>
XP_CLONES void forward_bits(const T* x, T* y, uint8_t* bits, int64_t n) {
  const int64_t whole = n / 8;
  for (int64_t b = 0; b < whole; ++b) {
    uint32_t byte = 0;
    for (int e = 0; e < 8; ++e) {
      const bool off = not_positive(x[8 * b + e]);
      byte |= (off ? 0u : 1u) << e;
      y[8 * b + e] = zero_if(off, x[8 * b + e]);
    }
    bits[b] = static_cast<uint8_t>(byte);
  }
  if (n % 8 == 0) return;
  bits[whole] = 0;
  for (int64_t i = 8 * whole; i < n; ++i) {
    const bool off = not_positive(x[i]);
    bits[whole] |= static_cast<uint8_t>((off ? 0u : 1u) << (i % 8));
    y[i] = zero_if(off, x[i]);
  }
}

}  // namespace

void relu_backward_cpu(const ReluBackwardArgs& a, int threads) {
  for_relu("relu_backward", a.dtype, a.rule, [&](auto tag, auto rule) {
    using T = decltype(tag);
    // whole bytes of bits per thread
    parallel_for(ceil_div(a.count, 8), kGrain / 8, threads, [&](int64_t begin, int64_t end) {
      const int64_t from = 8 * begin, n = min64(8 * end, a.count) - from;
      const T* g = static_cast<const T*>(a.g) + from;
      T* dx = static_cast<T*>(a.dx) + from;
      if (a.bits)
        backward_bits<T, rule()>(a.bits + begin, g, dx, n);
      else
        backward_values<T, rule()>(rule() == ReluRule::deconvnet ? g : static_cast<const T*>(a.x) + from, g, dx, n);
    });
  });
}

void relu_forward_bits_cpu(const ReluForwardArgs& a, int threads) {
  for_relu("relu_forward_bits", a.dtype, ReluRule::gradient, [&](auto tag, auto) {
    using T = decltype(tag);
    parallel_for(ceil_div(a.count, 8), kGrain / 8, threads, [&](int64_t begin, int64_t end) {
      const int64_t from = 8 * begin, n = min64(8 * end, a.count) - from;
      forward_bits(static_cast<const T*>(a.x) + from, static_cast<T*>(a.y) + from, a.bits + begin, n);
    });
  });
}

}  // namespace xp
