#include "bind/bindings.h"
#include "bind/tensor.h"
#include "kernels/relu.h"

namespace xp {
namespace {

using Object = const py::object&;

// x as values or as bits (uint8 [ceil(count / 8)]); g and dx of one type, contiguous in the same order
void backward(Object x, Object g, Object dx, int rule, bool from_bits, int threads, uintptr_t stream) {
  constexpr const char* kernel = "relu_backward";
  const Borrowed gb = borrow(g, Access::read, kernel, stream), db = borrow(dx, Access::write, kernel, stream);
  const bool needs_x = from_bits || rule != static_cast<int>(ReluRule::deconvnet);
  const Borrowed xb = borrow(needs_x ? x : g, Access::read, kernel, stream);
  require(rule >= 0 && rule <= 2, kernel, "rule must be 0 (gradient), 1 (guided) or 2 (deconvnet)");
  require(gb.contiguous() && db.contiguous() && xb.contiguous(), kernel, "tensors must be contiguous");
  require(gb.dtype == db.dtype && gb.size() == db.size(), kernel, "g and dx must agree in type and size");
  if (from_bits)
    require(xb.size() == ceil_div(gb.size(), 8), kernel, "bits must be uint8 [ceil(count / 8)]");
  else
    require(xb.size() == gb.size() && xb.dtype == gb.dtype, kernel, "x and g must agree in type and size");
  const bool device = on_device(kernel, same_place(kernel, {&gb, &db, &xb}));
  const ReluBackwardArgs args{from_bits ? nullptr : xb.data,
                              from_bits ? xb.as<uint8_t>(kernel) : nullptr,
                              gb.data,
                              db.data,
                              gb.size(),
                              gb.dtype,
                              static_cast<ReluRule>(rule)};
  py::gil_scoped_release release;
#ifdef XP_WITH_DEVICE
  if (device) return relu_backward_device(args, gb.device, stream);
#endif
  (void)device;
  relu_backward_cpu(args, threads);
}

void forward_bits(Object x, Object y, Object bits, int threads, uintptr_t stream) {
  constexpr const char* kernel = "relu_forward_bits";
  const Borrowed xb = borrow(x, Access::read, kernel, stream), yb = borrow(y, Access::write, kernel, stream);
  const Borrowed bb = borrow(bits, Access::write, kernel, stream);
  require(xb.contiguous() && yb.contiguous() && bb.contiguous(), kernel, "tensors must be contiguous");
  require(xb.dtype == yb.dtype && xb.size() == yb.size(), kernel, "x and y must agree in type and size");
  require(bb.size() == ceil_div(xb.size(), 8), kernel, "bits must be uint8 [ceil(count / 8)]");
  const bool device = on_device(kernel, same_place(kernel, {&xb, &yb, &bb}));
  const ReluForwardArgs args{xb.data, yb.data, bb.as<uint8_t>(kernel), xb.size(), xb.dtype};
  py::gil_scoped_release release;
#ifdef XP_WITH_DEVICE
  if (device) return relu_forward_bits_device(args, xb.device, stream);
#endif
  (void)device;
  relu_forward_bits_cpu(args, threads);
}

}  // namespace

void bind_relu(py::module_& m) {
  using py::arg;
  m.def("relu_backward", &backward, arg("x"), arg("g"), arg("dx"), py::kw_only(), arg("rule"), arg("from_bits"),
        arg("threads") = 0, arg("stream") = uintptr_t{0});
  m.def("relu_forward_bits", &forward_bits, arg("x"), arg("y"), arg("bits"), py::kw_only(), arg("threads") = 0,
        arg("stream") = uintptr_t{0});
}

}  // namespace xp
