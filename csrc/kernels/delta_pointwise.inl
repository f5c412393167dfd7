// One processor's element-wise functions; see delta_pointwise.cpp.

XP_HD float value(Unary f, float v, float low, float high) {
  switch (f) {
    case Unary::sigmoid:
      return 1.f / (1.f + std::exp(-v));
    case Unary::tanh:
      return std::tanh(v);
    case Unary::hard_sigmoid:
      return std::fmin(std::fmax(low * v + high, 0.f), 1.f);
    case Unary::hard_swish:
      return v * std::fmin(std::fmax(v / 6.f + 0.5f, 0.f), 1.f);
    case Unary::elu:
      return v < 0.f ? low * std::expm1(v) : v;
    case Unary::selu:
      return high * (v < 0.f ? low * std::expm1(v) : v);
    case Unary::softplus:
      return v > 0.f ? v + std::log1p(std::exp(-v)) : std::log1p(std::exp(v));
    case Unary::gelu:
      return 0.5f * v * (1.f + std::erf(v * 0.70710678118654752f));
    case Unary::exp:
      return std::exp(v);
    case Unary::erf:
      return std::erf(v);
    default:
      return std::fabs(v);
  }
}

template <class T>
void unary_mask(const UnaryArgs& a, int64_t m, const Deltas<const T>& in, const Deltas<T>& out) {
  const Window& o = out.windows[m];
  const Activator clip(Activation{Bend::clip, a.low, a.high});
  for (int64_t y = o.y; y < o.y + o.h; ++y)
    for (int64_t x = o.x; x < o.x + o.w; ++x) {
      const T* from = in.find(m, y, x);
      const float* base = a.base.at(y, x);
      T* to = out.at(m, y, x);
      for (int64_t c = 0; c < a.channels; c += kWidth) {
        if (!from) {
          store(to + c, vec{});
          continue;
        }
        vec before = load(base + c), after = before + load(from + c);
        if (a.scale) {
          const vec factor = load(a.scale + c), shift = load(a.shift + c);
          before = before * factor + shift;
          after = after * factor + shift;
        }
        if (a.function == Unary::clip) {
          store(to + c, clip(after) - clip(before));
        } else if (a.function == Unary::leaky) {
          const vec slope = load(a.slope + c);
          store(to + c, (after < 0.f ? after * slope : after) - (before < 0.f ? before * slope : before));
        } else {
          vec difference;
          for (int i = 0; i < kWidth; ++i)
            difference[i] = value(a.function, after[i], a.low, a.high) - value(a.function, before[i], a.low, a.high);
          store(to + c, difference);
        }
      }
    }
}

template <class T>
void binary_mask(const BinaryArgs& a, int64_t m, const Deltas<const T>& first, const Deltas<const T>& second,
                 const Deltas<T>& out) {
  const Window& o = out.windows[m];
  const Activator act(a.act);
  for (int64_t y = o.y; y < o.y + o.h; ++y)
    for (int64_t x = o.x; x < o.x + o.w; ++x) {
      const T *p = first.find(m, y, x), *q = second.find(m, y, x);
      T* to = out.at(m, y, x);
      for (int64_t c = 0; c < a.channels; c += kWidth) {
        const vec u = p ? load(p + c) : vec{}, v = q ? load(q + c) : vec{};
        vec d;
        if (a.function == Binary::multiply) {
          d = load(a.first.at(y, x) + c) * v + (load(a.second.at(y, x) + c) + v) * u;
        } else {
          d = a.function == Binary::add ? u + v : u - v;
          if (!act.none()) d = act.around(load(a.base.at(y, x) + c), d);
        }
        store(to + c, d);
      }
    }
}

template <class T>
void scale_mask(int64_t m, int64_t channels, const float* factors, const Deltas<const T>& in, const Deltas<T>& out) {
  const Window& o = out.windows[m];
  for (int64_t y = o.y; y < o.y + o.h; ++y)
    for (int64_t x = o.x; x < o.x + o.w; ++x) {
      const T* from = in.find(m, y, x);
      T* to = out.at(m, y, x);
      for (int64_t c = 0; c < channels; c += kWidth) store(to + c, from ? load(from + c) * load(factors + c) : vec{});
    }
}

template <class T>
void enter_mask(int64_t m, int64_t channels, const Base& x, const Base& fill, const Deltas<T>& out) {
  const Window& o = out.windows[m];
  for (int64_t py = o.y; py < o.y + o.h; ++py)
    for (int64_t px = o.x; px < o.x + o.w; ++px)
      for (int64_t c = 0; c < channels; c += kWidth)
        store(out.at(m, py, px) + c, load(fill.at(py, px) + c) - load(x.at(py, px) + c));
}
