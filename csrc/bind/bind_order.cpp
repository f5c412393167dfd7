// The places of values in descending order.
#include "bind/bindings.h"
#include "bind/tensor.h"
#include "kernels/rank.h"

namespace xp {
namespace {

using Object = const py::object&;

// values float32 [N, P] -> rank int32 [N, P]; workspace int32 [N, 4, P] on the device, None on the CPU
void rank(Object values, Object rank, Object workspace, int threads, uintptr_t stream) {
  constexpr const char* kernel = "rank";
  const Borrowed v = borrow(values, Access::read, kernel, stream), r = borrow(rank, Access::write, kernel, stream);
  require(v.axes == 2 && v.contiguous() && r.contiguous() && r.has_shape({v.shape[0], v.shape[1]}), kernel,
          "values and rank must be contiguous [N, P]");
  require(v.shape[1] < (int64_t{1} << 31), kernel, "at most 2**31 - 1 positions can be ranked");
  const bool device = on_device(kernel, same_place(kernel, {&v, &r}));
  RankArgs args{v.as<float>(kernel), r.as<int32_t>(kernel), nullptr, v.shape[0], v.shape[1]};
  Borrowed w;
  if (device) {
    w = borrow(workspace, Access::write, kernel, stream);
    require(w.contiguous() && w.has_shape({v.shape[0], 4, v.shape[1]}), kernel, "workspace must be int32 [N, 4, P]");
    same_place(kernel, {&v, &w});
    args.workspace = reinterpret_cast<uint32_t*>(w.as<int32_t>(kernel));
  }
  py::gil_scoped_release release;
#ifdef XP_WITH_DEVICE
  if (device) return rank_device(args, v.device, stream);
#endif
  rank_cpu(args, threads);
}

}  // namespace

void bind_order(py::module_& m) {
  using py::arg;
  const auto threads = arg("threads") = 0;
  const auto stream = arg("stream") = uintptr_t{0};
  m.def("rank", &rank, arg("values"), arg("rank"), arg("workspace"), py::kw_only(), threads, stream);
}

}  // namespace xp
