// What passes back through a ReLU, from its input or from one bit per element.
//
//   gradient   dx = x <= 0 ? 0 : g                    the chain rule
//   deconvnet  dx = g <= 0 ? 0 : g                    Zeiler and Fergus 2014, section 2.1
//   guided     dx = x <= 0 or g <= 0 ? 0 : g          Springenberg et al. 2015, section 3.4
//
// Written as "v <= 0 ? 0 : g", so that a NaN stays visible. Values pass unchanged, bit for bit.
#pragma once
#include <type_traits>

#include "core/check.h"
#include "core/dtype.h"

namespace xp {

enum class ReluRule : int { gradient = 0, guided = 1, deconvnet = 2 };

template <class T>
XP_HD bool not_positive(T v) {
  return to_float(v) <= 0.f;
}
template <class T>
XP_HD T zero_if(bool zero, T v) {
  T r = v;
  if (zero) memset(&r, 0, sizeof r);
  return r;
}

template <ReluRule rule, class T>
XP_HD T relu_backward(bool input_not_positive, T g) {
  const bool zero =
      (rule != ReluRule::deconvnet && input_not_positive) || (rule != ReluRule::gradient && not_positive(g));
  return zero_if(zero, g);
}

// One byte holds the bits of eight elements, lowest first, as numpy.packbits(bitorder="little"): 1 where !(x <= 0).
struct ReluBackwardArgs {
  const void* x;  // or null when `bits` is given
  const uint8_t* bits;
  const void* g;
  void* dx;  // may be g
  int64_t count;
  DType dtype;
  ReluRule rule;
};
struct ReluForwardArgs {
  const void* x;
  void* y;  // may be x
  uint8_t* bits;
  int64_t count;
  DType dtype;
};

void relu_backward_cpu(const ReluBackwardArgs& args, int threads);
void relu_forward_bits_cpu(const ReluForwardArgs& args, int threads);
void relu_backward_device(const ReluBackwardArgs& args, int device, uintptr_t stream);
void relu_forward_bits_device(const ReluForwardArgs& args, int device, uintptr_t stream);

// f(dtype tag, rule tag), with the tags as types
template <class F>
void for_relu(const char* kernel, DType dtype, ReluRule rule, F f) {
  const auto with_rule = [&](auto tag) {
    switch (rule) {
      case ReluRule::gradient:
        return f(tag, std::integral_constant<ReluRule, ReluRule::gradient>());
      case ReluRule::guided:
        return f(tag, std::integral_constant<ReluRule, ReluRule::guided>());
      case ReluRule::deconvnet:
        return f(tag, std::integral_constant<ReluRule, ReluRule::deconvnet>());
    }
    refuse(kernel, "unknown rule");
  };
  switch (dtype) {
    case DType::f32:
      return with_rule(float{});
    case DType::f16:
      return with_rule(f16{});
    case DType::bf16:
      return with_rule(bf16{});
    default:
      refuse(kernel, std::string("takes float32, float16 and bfloat16, not ") + name_of(dtype));
  }
}

}  // namespace xp
