// One step of a chain over a block, in vectors of the processor that is being compiled for. Included once per variant
// by delta_variants.h. The comparisons are written so that a NaN takes the way that it takes in ONNX Runtime.

// out = f(i) for each vector of a block
template <class F>
XP_HD void each(float* out, F f) {
  for (int i = 0; i < kBlock; i += 2 * kWidth) {
    const vec first = f(i), second = f(i + kWidth);
    store(out + i, first);
    store(out + i + kWidth, second);
  }
}

struct HardSigmoid {
  vec slope, shift;  // minus zero, for 0 + -0 would be 0
  XP_HD HardSigmoid(float a, float b) : slope(a - vec{}), shift(b - vec{}) {}
  XP_HD vec operator()(vec x) const {
    const vec one = vec{} + 1.f, zero = vec{}, v = slope * x + shift, w = one < v ? one : v;
    return w < zero ? zero : w;
  }
};

inline void apply(const Work& w) {
  const float *a = w.a, *b = w.b, *c = w.c;
  const vec zero = vec{}, one = vec{} + 1.f;
  switch (w.op) {
    case Op::add:
      return each(w.out, [=](int i) { return load(a + i) + load(b + i); });
    case Op::sub:
      return each(w.out, [=](int i) { return load(a + i) - load(b + i); });
    case Op::mul:
      return each(w.out, [=](int i) { return load(a + i) * load(b + i); });
    case Op::div:
      return each(w.out, [=](int i) { return load(a + i) / load(b + i); });
    case Op::least:
      return each(w.out, [=](int i) {
        const vec u = load(a + i), v = load(b + i);
        return (u < v) | (u != u) ? u : v;
      });
    case Op::most:
      return each(w.out, [=](int i) {
        const vec u = load(a + i), v = load(b + i);
        return (u > v) | (u != u) ? u : v;
      });
    case Op::greater:
      return each(w.out, [=](int i) { return load(a + i) > load(b + i) ? one : zero; });
    case Op::greater_equal:
      return each(w.out, [=](int i) { return load(a + i) >= load(b + i) ? one : zero; });
    case Op::less:
      return each(w.out, [=](int i) { return load(a + i) < load(b + i) ? one : zero; });
    case Op::less_equal:
      return each(w.out, [=](int i) { return load(a + i) <= load(b + i) ? one : zero; });
    case Op::equal:
      return each(w.out, [=](int i) { return load(a + i) == load(b + i) ? one : zero; });
    case Op::both:
      return each(w.out, [=](int i) { return load(a + i) * load(b + i); });
    case Op::either:
      return each(w.out, [=](int i) { return load(a + i) + load(b + i) != zero ? one : zero; });
    case Op::negation:
      return each(w.out, [=](int i) { return one - load(a + i); });
    case Op::where:  // the runtime puts two halves together, of which one is zero: of -0 it takes the other half's +0
      return each(w.out, [=](int i) {
        const vec v = load(b + i);
        return load(a + i) != zero ? (v != zero ? v : zero) : load(c + i);
      });
    case Op::neg:
      return each(w.out, [=](int i) { return -load(a + i); });
    case Op::abs:
      return each(w.out, [=](int i) {
        const vec v = load(a + i);
        return reinterpret_cast<vec>(reinterpret_cast<ints>(v) & 0x7fffffffu);
      });
    case Op::sign:
      return each(w.out, [=](int i) {
        const vec v = load(a + i);
        return v != v ? v : (v > zero ? one : zero) - (v < zero ? one : zero);
      });
    case Op::relu:
      return each(w.out, [=](int i) {
        const vec v = load(a + i);
        return v < zero ? zero : v;
      });
    case Op::leaky_relu:
      return each(w.out, [=](int i) {
        const vec v = load(a + i);
        return v >= zero ? v : load(b + i) * v;
      });
    case Op::clip:
      return each(w.out, [=](int i) {
        const vec x = load(a + i), low = load(b + i), high = load(c + i), v = x < low ? low : x;
        return high < v ? high : v;
      });
    case Op::hard_sigmoid: {
      const HardSigmoid f(b[0], c[0]);
      return each(w.out, [=](int i) { return f(load(a + i)); });
    }
    case Op::gate: {
      const HardSigmoid f(b[0], c[0]);
      const float* x = w.x;
      return each(w.out, [=](int i) { return load(x + i) * f(load(a + i)); });
    }
    case Op::gate_between: {
      const HardSigmoid f(b[0], c[0]), g(w.d[0], w.e[0]);
      const float* x = w.x;
      return each(w.out, [=](int i) {
        const vec v = load(a + i);
        return load(x + i) * (f(v) * g(v));
      });
    }
    default:  // copy
      return each(w.out, [=](int i) { return load(a + i); });
  }
}
