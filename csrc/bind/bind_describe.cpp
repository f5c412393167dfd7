// Maps told by a few numbers.
#include "bind/bindings.h"
#include "bind/tensor.h"
#include "kernels/describe.h"

namespace xp {
namespace {

using Object = const py::object&;

// maps float32 [N, D, H, W] -> codes float16, and numbers float64 [N, 6 + R C]; rows float64 [R, H], columns [C, W]
void describe(Object maps, Object rows, Object columns, Object codes, Object numbers, int threads) {
  constexpr const char* kernel = "describe";
  const Borrowed m = borrow(maps, Access::read, kernel), r = borrow(rows, Access::read, kernel);
  const Borrowed c = borrow(columns, Access::read, kernel), h = borrow(codes, Access::write, kernel);
  const Borrowed f = borrow(numbers, Access::write, kernel);
  require(!on_device(kernel, same_place(kernel, {&m, &r, &c, &h, &f})), kernel, "arrays must lie on the CPU");
  require(m.axes == 4 && m.contiguous() && m.size() > 0, kernel,
          "maps must be contiguous [N, D, H, W], none of them 0");
  require(h.contiguous() && h.has_shape({m.shape[0], m.shape[1], m.shape[2], m.shape[3]}), kernel,
          "codes must have the shape of maps");
  require(r.axes == 2 && r.contiguous() && r.shape[1] == m.shape[2], kernel, "rows must be contiguous [R, H]");
  require(c.axes == 2 && c.contiguous() && c.shape[1] == m.shape[3] && c.shape[0] > 0, kernel,
          "columns must be contiguous [C, W]");
  require(m.shape[1] * m.shape[2] * m.shape[3] < (int64_t{1} << 31), kernel, "a map has at most 2**31 - 1 values");
  const DescribeArgs args{
      m.as<float>(kernel), r.as<double>(kernel), c.as<double>(kernel), h.as<f16>(kernel), f.as<double>(kernel),
      m.shape[0],          m.shape[1],           m.shape[2],           m.shape[3],        r.shape[0],
      c.shape[0]};
  require(f.contiguous() && f.has_shape({args.items, args.found()}), kernel, "numbers must be [N, 6 + R C]");
  py::gil_scoped_release release;
  describe_cpu(args, threads);
}

}  // namespace

void bind_describe(py::module_& m) {
  using py::arg;
  m.def("describe", &describe, arg("maps"), arg("rows"), arg("columns"), arg("codes"), arg("numbers"), py::kw_only(),
        arg("threads") = 0);
}

}  // namespace xp
