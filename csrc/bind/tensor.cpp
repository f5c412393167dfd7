#include "bind/tensor.h"

namespace xp {
namespace {

DType dtype_from(DLDataType t, const char* kernel) {
  if (t.lanes == 1) {
    if (t.code == kDLFloat && t.bits == 32) return DType::f32;
    if (t.code == kDLFloat && t.bits == 16) return DType::f16;
    if (t.code == kDLFloat && t.bits == 64) return DType::f64;
    if (t.code == kDLBfloat && t.bits == 16) return DType::bf16;
    if (t.code == kDLUInt && t.bits == 8) return DType::u8;
    if (t.code == kDLUInt && t.bits == 16) return DType::bf16;  // numpy has no bfloat16: its bits travel as uint16
    if (t.code == kDLBool && t.bits == 8) return DType::u8;
    if (t.code == kDLInt && t.bits == 32) return DType::i32;
    if (t.code == kDLInt && t.bits == 64) return DType::i64;
    if (t.code == kDLUInt && t.bits == 32) return DType::u32;
    if (t.code == kDLUInt && t.bits == 64) return DType::u64;
  }
  throw py::type_error(std::string(kernel) + ": a tensor's element type (DLPack code " + std::to_string(t.code) + ", " +
                       std::to_string(t.bits) + " bits) is not one that kernels take");
}

template <class Managed>
std::shared_ptr<void> take(PyObject* capsule, const char* name, const char* used, DLTensor& tensor) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
  tensor = managed->dl_tensor;
  PyCapsule_SetName(capsule, used);
  return std::shared_ptr<void>(managed, [](void* p) {
    auto* m = static_cast<Managed*>(p);
    if (m->deleter) m->deleter(m);
  });
}

py::object export_capsule(const py::object& tensor, const py::dict& stream) {
  try {
    py::dict asked = stream.attr("copy")();
    asked["max_version"] = py::make_tuple(1, 1);
    asked["copy"] = false;
    return tensor.attr("__dlpack__")(**asked);
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_TypeError)) throw;  // a producer of before DLPack 1.0 knows neither keyword
    return tensor.attr("__dlpack__")(**stream);
  }
}

}  // namespace

Borrowed borrow(const py::object& tensor, Access access, const char* kernel, uintptr_t stream) {
  if (!py::hasattr(tensor, "__dlpack__"))
    throw py::type_error(std::string(kernel) + ": got " + std::string(py::str(py::type::of(tensor))) +
                         " where a tensor with __dlpack__ is needed");
  const auto device = tensor.attr("__dlpack_device__")().cast<std::pair<int, int>>();
  const bool cuda = device.first == kDLCUDA || device.first == kDLCUDAManaged;
  if (!cuda && device.first != kDLCPU && device.first != kDLCUDAHost)
    throw py::type_error(std::string(kernel) + ": tensors must lie on the CPU or on a CUDA device");
  py::dict keywords;
  if (cuda) keywords["stream"] = py::int_(stream ? stream : 1);
  const py::object capsule = export_capsule(tensor, keywords);

  Borrowed view;
  DLTensor t{};
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
    auto* managed = static_cast<DLManagedTensorVersioned*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor_versioned"));
    if (managed->version.major != 1) throw py::buffer_error(std::string(kernel) + ": unknown DLPack version");
    const uint64_t flags = managed->flags;
    view.owner = take<DLManagedTensorVersioned>(capsule.ptr(), "dltensor_versioned", "used_dltensor_versioned", t);
    if (access == Access::write && (flags & kDLFlagReadOnly))
      throw py::buffer_error(std::string(kernel) + ": the output is read-only");
  } else if (PyCapsule_IsValid(capsule.ptr(), "dltensor")) {
    view.owner = take<DLManagedTensor>(capsule.ptr(), "dltensor", "used_dltensor", t);
  } else {
    throw py::type_error(std::string(kernel) + ": __dlpack__ returned no usable capsule");
  }

  if (t.ndim > kMaxAxes) refuse(kernel, "tensors have at most " + std::to_string(kMaxAxes) + " axes");
  view.dtype = dtype_from(t.dtype, kernel);
  view.data = static_cast<char*>(t.data) + t.byte_offset;
  view.place = cuda ? Place::cuda : Place::cpu;
  view.device = t.device.device_id;
  view.axes = t.ndim;
  int64_t step = 1;
  for (int i = t.ndim - 1; i >= 0; --i) {
    view.shape[i] = t.shape[i];
    view.stride[i] = t.strides ? t.strides[i] : step;
    step *= t.shape[i];
  }
  return view;
}

Place same_place(const char* kernel, std::initializer_list<const TensorView*> views) {
  const TensorView& first = **views.begin();
  for (const TensorView* v : views)
    if (v->place != first.place || (v->place == Place::cuda && v->device != first.device))
      refuse(kernel, "tensors lie on different devices");
  return first.place;
}

}  // namespace xp
