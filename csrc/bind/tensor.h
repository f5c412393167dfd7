// Tensors across the border: any DLPack producer in, as a TensorView that keeps its owner alive.
#pragma once
#include <pybind11/pybind11.h>

#include <memory>
#include <string>

#include "core/dlpack.h"
#include "core/tensor_view.h"

namespace xp {

namespace py = pybind11;

// A borrowed tensor and what keeps its memory alive. Destroy it while holding the GIL.
struct Borrowed : TensorView {
  std::shared_ptr<void> owner;
};

enum class Access { read, write };

// `stream` is the CUDA stream our kernel will run on, 0 for the legacy default. The producer is told, so that it can
// order its own work before ours (DLPack: 1 is the legacy stream, 0 is not allowed).
Borrowed borrow(const py::object& tensor, Access access, const char* kernel, uintptr_t stream = 0);

// All on the CPU, or all on one CUDA device; returns which.
Place same_place(const char* kernel, std::initializer_list<const TensorView*> views);

// Whether kernels for these tensors are the device's. The simulator's build runs them on CPU memory; a build without
// CUDA refuses device tensors.
inline bool on_device(const char* kernel, Place place) {
#if defined(XP_SIM)
  (void)kernel;
  (void)place;
  return true;
#elif defined(XP_WITH_CUDA)
  (void)kernel;
  return place == Place::cuda;
#else
  require(place == Place::cpu, kernel, "xplain was built without CUDA; reinstall it where nvcc is found");
  return false;
#endif
}
#if defined(XP_SIM) || defined(XP_WITH_CUDA)
#define XP_WITH_DEVICE 1
#endif

// Strides of a logical [N, C, H, W] view.
template <class S>
S strides4(const TensorView& v) {
  return S{v.stride[0], v.stride[1], v.stride[2], v.stride[3]};
}

}  // namespace xp
