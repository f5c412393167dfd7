// Vectors of the processor that is being compiled for, and the inner product that convolutions share. Included once
// per variant by delta_variants.h, which sets XP_WIDTH (floats per vector), XP_ROWS (pixels per tile) and the target,
// and XP_PAIR_PRODUCTS where the processor multiplies pairs of bf16.

using vec = float __attribute__((vector_size(4 * XP_WIDTH), aligned(4), may_alias));
using ints = uint32_t __attribute__((vector_size(4 * XP_WIDTH), aligned(4), may_alias));
using halves = uint16_t __attribute__((vector_size(2 * XP_WIDTH), aligned(2), may_alias));

constexpr int kWidth = XP_WIDTH;
constexpr int kRows = XP_ROWS;  // with kColumns vectors of sums each, they fill the registers
constexpr int kColumns = 2;
constexpr int kSpan = kWidth * kColumns;  // output channels of one tile
constexpr int64_t kSoon = 16 * kPanel;    // weights that the first cache is asked for before they are read

XP_HD vec load(const float* p) { return *reinterpret_cast<const vec*>(p); }
XP_HD void store(float* p, vec v) { *reinterpret_cast<vec*>(p) = v; }
XP_HD vec load(const bf16* p) {
  return reinterpret_cast<vec>(__builtin_convertvector(*reinterpret_cast<const halves*>(p), ints) << 16);
}
XP_HD void store(bf16* p, vec v) {  // rounds to even; a NaN stays one because deltas carry the quiet bit
  const ints u = reinterpret_cast<ints>(v);
  *reinterpret_cast<halves*>(p) = __builtin_convertvector((u + 0x7fffu + ((u >> 16) & 1u)) >> 16, halves);
}

// An activation with its bounds in registers. Stores through float pointers could change an Activation in memory, so
// the compiler would read it again after each.
struct Activator {
  Bend kind;
  vec low, high;

  XP_HD explicit Activator(const Activation& a) : kind(a.bend), low(vec{} + a.low), high(vec{} + a.high) {}
  XP_HD bool none() const { return kind == Bend::none; }
  XP_HD vec operator()(vec v) const {
    if (kind == Bend::leaky) return v < 0.f ? v * low : v;
    v = v < low ? low : v;
    return v > high ? high : v;
  }
  // what the activation makes of a delta around a base
  XP_HD vec around(vec base, vec delta) const { return (*this)(base + delta) - (*this)(base); }
};

// Weights that will be read soon, asked for a little with every product: what lies ahead is further away than the
// processor looks by itself, and asking for it at once would hold up the products.
struct Prefetch {
  const char* at;
  int64_t step;  // bytes per channel of a tile

  // of `bytes` from `from`, the share of tile `number` of `tiles` that each go over `channels` channels
  XP_HD Prefetch(const void* from, int64_t bytes, int64_t number, int64_t tiles, int64_t channels)
      : at(static_cast<const char*>(from)), step(bytes / max64(tiles * channels, 1)) {
    at += number * channels * step;
  }
  XP_HD void ask() {
    __builtin_prefetch(at, 0, 2);  // into the second cache: the first is full of what is being multiplied
    at += step;
  }
};

// sums[i][k] = sum over live taps t and channels c of rows[t][i][c] * weights[t][c][column k]
template <int R>
XP_HD void multiply(const float* const* rows, const int32_t* taps, int64_t live, int64_t length, const float* weights,
                    Prefetch ahead, vec (&sums)[R][kColumns]) {
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
    for (int k = 0; k < kColumns; ++k) sums[i][k] = vec{};
  for (int64_t t = 0; t < live; ++t) {
    const float* const* p = rows + taps[t] * kRows;
    const float* w = weights + taps[t] * length * kPanel;
    for (int64_t c = 0; c < length; ++c, w += kPanel) {
      const vec w0 = load(w), w1 = load(w + kWidth);
      ahead.ask();
      __builtin_prefetch(w + kSoon);
      __builtin_prefetch(w + kSoon + kWidth);
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i) {
        const float v = p[i][c];
        sums[i][0] += v * w0;
        sums[i][1] += v * w1;
      }
    }
  }
}

XP_HD uint32_t pair_at(const bf16* p) {
  uint32_t bits;
  memcpy(&bits, p, 4);
  return bits;
}
XP_HD vec dot_pairs(vec sum, uint32_t pair, const bf16* w) {
#if defined(XP_PAIR_PRODUCTS)
  const auto a = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(pair)));
  return _mm512_dpbf16_ps(sum, a, reinterpret_cast<__m512bh>(_mm512_loadu_si512(w)));
#else
  const ints u = *reinterpret_cast<const ints*>(w);
  sum += bits_float(pair << 16) * reinterpret_cast<vec>(u << 16);
  return sum + bits_float(pair & 0xffff0000u) * reinterpret_cast<vec>(u & 0xffff0000u);
#endif
}
template <int R>
XP_HD void multiply(const bf16* const* rows, const int32_t* taps, int64_t live, int64_t length, const bf16* weights,
                    Prefetch ahead, vec (&sums)[R][kColumns]) {
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
    for (int k = 0; k < kColumns; ++k) sums[i][k] = vec{};
  for (int64_t t = 0; t < live; ++t) {
    const bf16* const* p = rows + taps[t] * kRows;
    const bf16* w = weights + taps[t] * length * kPanel;
    for (int64_t c = 0; c < length; c += 2, w += 2 * kPanel) {
      ahead.ask();
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i) {
        const uint32_t v = pair_at(p[i] + c);
        sums[i][0] = dot_pairs(sums[i][0], v, w);
        sums[i][1] = dot_pairs(sums[i][1], v, w + 2 * kWidth);
      }
    }
  }
}
