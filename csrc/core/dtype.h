// Element types. The 16-bit ones are our own structs, so that a build without CUDA needs none of its headers; the
// conversions round to nearest, ties to even, and give the same bits on both sides.
#pragma once
#include "core/portable.h"
#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace xp {

struct alignas(2) f16 {
  uint16_t bits;
};
struct alignas(2) bf16 {
  uint16_t bits;
};

enum class DType { f32, f16, bf16, f64, u8, i32, i64, u32, u64 };

XP_HD float to_float(float v) { return v; }
XP_HD float to_float(bf16 v) { return bits_float(static_cast<uint32_t>(v.bits) << 16); }
XP_HD float to_float(f16 v) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(v.bits));
#else
  // no branches, so that loops over it become vector code on any x86-64
  const uint32_t sign = (v.bits & 0x8000u) << 16, magnitude = v.bits & 0x7fffu;
  const uint32_t normal = (magnitude << 13) + (magnitude >= 0x7c00u ? 0x70000000u : 0x38000000u);
  const float subnormal = static_cast<float>(magnitude) * 5.9604644775390625e-8f;  // 2^-24
  return bits_float((magnitude < 0x400u ? float_bits(subnormal) : normal) | sign);
#endif
}

template <class T>
XP_HD T from_float(float v);

template <>
XP_HD float from_float<float>(float v) {
  return v;
}
template <>
XP_HD double from_float<double>(float v) {
  return static_cast<double>(v);
}
// rounds half to even and stays in range, as a quantised model's input expects; NaN becomes 0
template <>
XP_HD uint8_t from_float<uint8_t>(float v) {
  const float inside = v > 0.f ? (v < 255.f ? v : 255.f) : 0.f;
  return static_cast<uint8_t>(
      static_cast<int32_t>((inside + 12582912.f) - 12582912.f));  // 1.5 * 2^23 drops the fraction
}
template <>
XP_HD bf16 from_float<bf16>(float v) {
#if defined(__CUDA_ARCH__)
  return bf16{__bfloat16_as_ushort(__float2bfloat16_rn(v))};
#else
  const uint32_t u = float_bits(v), rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  return bf16{static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : rounded)};
#endif
}
template <>
XP_HD f16 from_float<f16>(float v) {
#if defined(__CUDA_ARCH__)
  return f16{__half_as_ushort(__float2half_rn(v))};
#else
  const uint32_t u = float_bits(v) & 0x7fffffffu, sign = (float_bits(v) >> 16) & 0x8000u;
  const uint32_t subnormal = float_bits(bits_float(u) + 0.5f) - 0x3f000000u;  // the addition rounds
  const uint32_t normal = ((u + 0xfffu + ((u >> 13) & 1u)) >> 13) - 0x1c000u;
  uint32_t r = u < 0x38800000u ? subnormal : normal;
  r = u >= 0x477ff000u ? 0x7c00u : r;  // overflow after rounding
  r = u > 0x7f800000u ? 0x7fffu : r;
  return f16{static_cast<uint16_t>(r | sign)};
#endif
}

template <class T>
struct dtype_of;
template <>
struct dtype_of<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct dtype_of<f16> {
  static constexpr DType value = DType::f16;
};
template <>
struct dtype_of<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct dtype_of<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct dtype_of<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct dtype_of<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct dtype_of<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct dtype_of<uint32_t> {
  static constexpr DType value = DType::u32;
};
template <>
struct dtype_of<uint64_t> {
  static constexpr DType value = DType::u64;
};

inline const char* name_of(DType t) {
  constexpr const char* names[] = {"float32", "float16", "bfloat16", "float64", "uint8",
                                   "int32",   "int64",   "uint32",   "uint64"};
  return names[static_cast<int>(t)];
}
inline int64_t size_of(DType t) {
  constexpr int64_t sizes[] = {4, 2, 2, 8, 1, 4, 8, 4, 8};
  return sizes[static_cast<int>(t)];
}

}  // namespace xp
