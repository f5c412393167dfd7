// A borrowed tensor: address, type, device, shape and strides in elements. Any strides, zero ones (broadcast) included.
#pragma once
#include <array>

#include "core/check.h"
#include "core/dtype.h"

namespace xp {

constexpr int kMaxAxes = 8;
enum class Place { cpu, cuda };

struct TensorView {
  void* data = nullptr;
  DType dtype = DType::f32;
  Place place = Place::cpu;
  int device = 0;
  int axes = 0;
  std::array<int64_t, kMaxAxes> shape{}, stride{};

  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < axes; ++i) n *= shape[i];
    return n;
  }
  bool contiguous() const {
    if (size() == 0) return true;
    int64_t expected = 1;
    for (int i = axes - 1; i >= 0; --i) {
      if (shape[i] != 1 && stride[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  }
  template <class T>
  T* as(const char* kernel) const {
    if (dtype != dtype_of<T>::value)
      refuse(kernel, std::string("got ") + name_of(dtype) + " where " + name_of(dtype_of<T>::value) + " is needed");
    return static_cast<T*>(data);
  }
  bool has_shape(std::initializer_list<int64_t> wanted) const {
    if (axes != static_cast<int>(wanted.size())) return false;
    int i = 0;
    for (int64_t extent : wanted)
      if (shape[i++] != extent) return false;
    return true;
  }
};

}  // namespace xp
