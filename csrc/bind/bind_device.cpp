// Memory and streams of a device, for callers that have neither torch nor cupy.
#include <pybind11/stl.h>

#include <memory>
#include <vector>

#include "bind/bindings.h"
#include "bind/tensor.h"
#include "kernels/devices.h"

namespace xp {
namespace {

DLDataType dlpack_type(DType t) {
  switch (t) {
    case DType::f32:
      return {kDLFloat, 32, 1};
    case DType::f16:
      return {kDLFloat, 16, 1};
    case DType::bf16:
      return {kDLBfloat, 16, 1};
    case DType::f64:
      return {kDLFloat, 64, 1};
    case DType::u8:
      return {kDLUInt, 8, 1};
    case DType::i32:
      return {kDLInt, 32, 1};
    case DType::i64:
      return {kDLInt, 64, 1};
    case DType::u32:
      return {kDLUInt, 32, 1};
    case DType::u64:
      return {kDLUInt, 64, 1};
  }
  throw py::type_error("unknown element type");
}
DType named(const std::string& name) {
  for (DType t :
       {DType::f32, DType::f16, DType::bf16, DType::f64, DType::u8, DType::i32, DType::i64, DType::u32, DType::u64})
    if (name == name_of(t)) return t;
  throw py::type_error("device arrays hold no " + name);
}

// Memory of a device seen with a shape and strides; views share the memory.
class DeviceArray {
 public:
  DeviceArray(std::vector<int64_t> shape, const std::string& dtype, int device)
      : shape_(std::move(shape)), dtype_(named(dtype)), device_(device) {
    int64_t count = 1;
    for (auto axis = shape_.rbegin(); axis != shape_.rend(); ++axis) {
      require(*axis >= 0, "DeviceArray", "extents cannot be negative");
      strides_.insert(strides_.begin(), count);
      count *= *axis;
    }
    bytes_ = count * size_of(dtype_);
    memory_ = std::shared_ptr<void>(device_allocate(bytes_, device), [device](void* p) { device_free(p, device); });
  }

  // `offset` elements on from the start of this view
  DeviceArray as_strided(std::vector<int64_t> shape, std::vector<int64_t> strides, int64_t offset) const {
    require(shape.size() == strides.size() && shape.size() <= kMaxAxes, "as_strided", "one stride per axis");
    require(offset >= 0, "as_strided", "the offset cannot be negative");
    int64_t last = offset, count = 1;
    for (size_t i = 0; i < shape.size(); ++i) {
      require(shape[i] >= 0 && strides[i] >= 0, "as_strided", "extents and strides cannot be negative");
      last += (shape[i] - 1) * strides[i];
      count *= shape[i];
    }
    require(count == 0 || (begin_ + last + 1) * size_of(dtype_) <= bytes_, "as_strided",
            "the view reaches past the memory");
    DeviceArray view = *this;
    view.begin_ = begin_ + offset;
    view.shape_ = std::move(shape);
    view.strides_ = std::move(strides);
    return view;
  }
  void copy_from(const py::object& host, uintptr_t stream) {
    const Borrowed h = borrow(host, Access::read, "copy_from");
    require(h.place == Place::cpu && h.contiguous() && h.size() * size_of(h.dtype) == bytes_, "copy_from",
            "wants a contiguous host array of as many bytes");
    py::gil_scoped_release release;
    device_copy_in(memory_.get(), h.data, bytes_, device_, stream);
  }
  void copy_to(const py::object& host, uintptr_t stream) const {
    const Borrowed h = borrow(host, Access::write, "copy_to");
    require(h.place == Place::cpu && h.contiguous() && h.size() * size_of(h.dtype) == bytes_, "copy_to",
            "wants a contiguous host array of as many bytes");
    py::gil_scoped_release release;
    device_copy_out(h.data, memory_.get(), bytes_, device_, stream);
  }

  // Work on this memory is the caller's to order: no producer's stream is known here.
  py::object dlpack(const py::object&, const py::object&, const py::object&, const py::object&) const {
    struct Context {
      std::shared_ptr<void> memory;
      std::vector<int64_t> shape, strides;
    };
    auto* context = new Context{memory_, shape_, strides_};
    auto* managed = new DLManagedTensor{};
    managed->manager_ctx = context;
    managed->deleter = [](DLManagedTensor* m) {
      delete static_cast<Context*>(m->manager_ctx);
      delete m;
    };
    managed->dl_tensor = DLTensor{address(),
                                  DLDevice{kind(), device_},
                                  static_cast<int32_t>(shape_.size()),
                                  dlpack_type(dtype_),
                                  context->shape.data(),
                                  context->strides.data(),
                                  0};
    return py::reinterpret_steal<py::object>(PyCapsule_New(managed, "dltensor", [](PyObject* capsule) {
      if (!PyCapsule_IsValid(capsule, "dltensor")) return;  // taken by a consumer
      auto* m = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
      m->deleter(m);
    }));
  }
  std::pair<int, int> dlpack_device() const { return {kind(), device_}; }
  uintptr_t pointer() const { return reinterpret_cast<uintptr_t>(address()); }
  int device() const { return device_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  std::string dtype() const { return name_of(dtype_); }

 private:
  static int32_t kind() {
#ifdef XP_SIM
    return kDLCPU;
#else
    return kDLCUDA;
#endif
  }
  void* address() const { return static_cast<char*>(memory_.get()) + begin_ * size_of(dtype_); }
  std::shared_ptr<void> memory_;
  int64_t begin_ = 0;
  std::vector<int64_t> shape_, strides_;
  DType dtype_;
  int device_;
  int64_t bytes_ = 0;
};

class OwnStream {
 public:
  explicit OwnStream(int device) : device_(device), handle_(stream_create(device)) {}
  ~OwnStream() { stream_destroy(handle_, device_); }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  uintptr_t handle() const { return handle_; }
  void synchronize() const {
    py::gil_scoped_release release;
    stream_synchronize(handle_, device_);
  }
  void wait_for(uintptr_t other) const { stream_wait(handle_, other, device_); }

 private:
  int device_;
  uintptr_t handle_;
};

}  // namespace

void bind_device(py::module_& m) {
  using py::arg;
  py::class_<DeviceArray>(m, "DeviceArray", "Memory of a device; any DLPack consumer takes it without a copy.")
      .def(py::init<std::vector<int64_t>, const std::string&, int>(), arg("shape"), arg("dtype"), arg("device") = 0)
      .def("as_strided", &DeviceArray::as_strided, arg("shape"), arg("strides"), arg("offset") = 0)
      .def("copy_from", &DeviceArray::copy_from, arg("host"), arg("stream") = uintptr_t{0})
      .def("copy_to", &DeviceArray::copy_to, arg("host"), arg("stream") = uintptr_t{0})
      .def("__dlpack__", &DeviceArray::dlpack, py::kw_only(), arg("stream") = py::none(),
           arg("max_version") = py::none(), arg("dl_device") = py::none(), arg("copy") = py::none())
      .def("__dlpack_device__", &DeviceArray::dlpack_device)
      .def_property_readonly("pointer", &DeviceArray::pointer)
      .def_property_readonly("device", &DeviceArray::device)
      .def_property_readonly("shape", &DeviceArray::shape)
      .def_property_readonly("dtype", &DeviceArray::dtype);
  py::class_<OwnStream>(m, "Stream", "A stream of a device that does not wait for the legacy default one.")
      .def(py::init<int>(), arg("device") = 0)
      .def_property_readonly("handle", &OwnStream::handle)
      .def("synchronize", &OwnStream::synchronize)
      .def("wait_for", &OwnStream::wait_for, arg("other"), "Runs what comes after what `other` holds by now");
}

}  // namespace xp
