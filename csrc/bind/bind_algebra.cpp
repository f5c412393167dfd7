// rank, and the normal equations of weighted least squares.
#include "bind/bindings.h"
#include "bind/tensor.h"
#include "kernels/least_squares.h"
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

// keep uint8 [M, S], row_at int64 [64 words]: the row behind every bit, -1 for none -> columns uint64 [S, words]
void pack_columns(Object keep, Object row_at, Object columns, int threads, uintptr_t stream) {
  constexpr const char* kernel = "pack_columns";
  const Borrowed k = borrow(keep, Access::read, kernel, stream), p = borrow(row_at, Access::read, kernel, stream);
  const Borrowed c = borrow(columns, Access::write, kernel, stream);
  require(k.axes == 2 && c.axes == 2 && c.shape[0] == k.shape[1] && c.contiguous() && p.has_shape({64 * c.shape[1]}) &&
              p.contiguous(),
          kernel, "wants keep [M, S], row_at [64 words] and columns [S, words]");
  const bool device = on_device(kernel, same_place(kernel, {&k, &p, &c}));
  const PackColumns args{
      k.as<uint8_t>(kernel), k.stride[0], k.stride[1], p.as<int64_t>(kernel), k.shape[0], k.shape[1], c.shape[1],
      c.as<uint64_t>(kernel)};
  py::gil_scoped_release release;
#ifdef XP_WITH_DEVICE
  if (device) return pack_columns_device(args, k.device, stream);
#endif
  (void)device;
  pack_columns_cpu(args, threads);
}

#ifdef XP_WITH_DEVICE
// keep uint8 [M, S], weights float64 [M], scores float64 [M, K] -> factors float32 [S + K, M]; device
void weighted_factors(Object keep, Object weights, Object scores, Object factors, uintptr_t stream) {
  constexpr const char* kernel = "weighted_factors";
  const Borrowed k = borrow(keep, Access::read, kernel, stream), w = borrow(weights, Access::read, kernel, stream);
  const Borrowed y = borrow(scores, Access::read, kernel, stream), f = borrow(factors, Access::write, kernel, stream);
  require(k.axes == 2 && y.axes == 2 && y.shape[0] == k.shape[0] && w.has_shape({k.shape[0]}) &&
              f.has_shape({k.shape[1] + y.shape[1], k.shape[0]}),
          kernel, "wants keep [M, S], weights [M], scores [M, K] and factors [S + K, M]");
  require(w.contiguous() && y.contiguous() && f.contiguous(), kernel, "tensors must be contiguous");
  require(on_device(kernel, same_place(kernel, {&k, &w, &y, &f})), kernel, "runs on a device alone");
  const WeightedFactors args{k.as<uint8_t>(kernel), k.stride[0], k.stride[1], w.as<double>(kernel),
                             y.as<double>(kernel),  k.shape[0],  k.shape[1],  y.shape[1],
                             f.as<float>(kernel)};
  py::gil_scoped_release release;
  weighted_factors_device(args, k.device, stream);
}

// float32 or float64 with up to three axes and any strides -> float64 of the same shape; device
void widen(Object from, Object to, uintptr_t stream) {
  constexpr const char* kernel = "widen";
  const Borrowed f = borrow(from, Access::read, kernel, stream), t = borrow(to, Access::write, kernel, stream);
  require(f.axes == t.axes && f.axes <= 3, kernel, "takes tensors of one shape and at most three axes");
  require(f.dtype == DType::f32 || f.dtype == DType::f64, kernel, "takes float32 and float64");
  require(on_device(kernel, same_place(kernel, {&f, &t})), kernel, "runs on a device alone");
  WidenCopy args{f.data, f.dtype == DType::f32, t.as<double>(kernel), {1, 1, 1}, {0, 0, 0}, {0, 0, 0}};
  for (int i = 0; i < f.axes; ++i) {
    require(f.shape[i] == t.shape[i], kernel, "takes tensors of one shape and at most three axes");
    args.shape[3 - f.axes + i] = f.shape[i];
    args.from_stride[3 - f.axes + i] = f.stride[i];
    args.to_stride[3 - f.axes + i] = t.stride[i];
  }
  py::gil_scoped_release release;
  widen_device(args, f.device, stream);
}
#endif

// columns uint64 [S, words], begin int64 [G + 1], weight float64 [G] -> gram float64 [S, S]
void count_gram(Object columns, Object begin, Object weight, Object gram, int threads, uintptr_t stream) {
  constexpr const char* kernel = "count_gram";
  const Borrowed c = borrow(columns, Access::read, kernel, stream), b = borrow(begin, Access::read, kernel, stream);
  const Borrowed w = borrow(weight, Access::read, kernel, stream), g = borrow(gram, Access::write, kernel, stream);
  require(c.axes == 2 && g.has_shape({c.shape[0], c.shape[0]}) && w.axes == 1 && b.has_shape({w.shape[0] + 1}), kernel,
          "wants columns [S, words], begin [G + 1], weight [G] and gram [S, S]");
  require(c.contiguous() && b.contiguous() && w.contiguous() && g.contiguous(), kernel, "tensors must be contiguous");
  const bool device = on_device(kernel, same_place(kernel, {&c, &b, &w, &g}));
  const CountGram args{c.as<uint64_t>(kernel),
                       b.as<int64_t>(kernel),
                       w.as<double>(kernel),
                       g.as<double>(kernel),
                       c.shape[0],
                       c.shape[1],
                       w.shape[0]};
  if (b.place == Place::cpu)
    for (int64_t q = 0; q < args.groups; ++q)
      require(args.begin[q] >= 0 && args.begin[q] <= args.begin[q + 1] && args.begin[q + 1] <= args.words, kernel,
              "begin must not decrease and must stay within the words");
  py::gil_scoped_release release;
#ifdef XP_WITH_DEVICE
  if (device) return count_gram_device(args, c.device, stream);
#endif
  (void)device;
  count_gram_cpu(args, threads);
}

// gram float64 [B, n, n] and x [B, m + 1, n] (the last row is the kernel's own) are overwritten; total [B, m] or None;
// bad int64 [B]
void solve(Object gram, Object x, Object total, Object bad, double least, int threads, uintptr_t stream) {
  constexpr const char* kernel = "solve";
  const Borrowed g = borrow(gram, Access::write, kernel, stream), s = borrow(x, Access::write, kernel, stream);
  const Borrowed e = borrow(bad, Access::write, kernel, stream);
  require(g.axes == 3 && s.axes == 3 && s.shape[1] >= 1 && g.has_shape({g.shape[0], g.shape[1], g.shape[1]}) &&
              s.has_shape({g.shape[0], s.shape[1], g.shape[1]}) && e.has_shape({g.shape[0]}),
          kernel, "wants gram [B, n, n], x [B, m + 1, n] and bad [B]");
  require(g.contiguous() && s.contiguous() && e.contiguous(), kernel, "tensors must be contiguous");
  SolveArgs args{g.as<double>(kernel), s.as<double>(kernel), nullptr,        e.as<int64_t>(kernel),
                 g.shape[0],           g.shape[1],           s.shape[1] - 1, least};
  Borrowed t;
  if (!total.is_none()) {
    t = borrow(total, Access::read, kernel, stream);
    require(t.contiguous() && t.has_shape({g.shape[0], s.shape[1] - 1}), kernel, "total must be [B, m]");
    args.total = t.as<double>(kernel);
  }
  const bool device = on_device(kernel, same_place(kernel, {&g, &s, &e, total.is_none() ? &g : &t}));
  py::gil_scoped_release release;
#ifdef XP_WITH_DEVICE
  if (device) return solve_device(args, g.device, stream);
#endif
  (void)device;
  solve_cpu(args, threads);
}

}  // namespace

void bind_algebra(py::module_& m) {
  using py::arg;
  const auto threads = arg("threads") = 0;
  const auto stream = arg("stream") = uintptr_t{0};
  m.def("rank", &rank, arg("values"), arg("rank"), arg("workspace"), py::kw_only(), threads, stream);
  m.def("pack_columns", &pack_columns, arg("keep"), arg("row_at"), arg("columns"), py::kw_only(), threads, stream);
#ifdef XP_WITH_DEVICE
  m.def("weighted_factors", &weighted_factors, arg("keep"), arg("weights"), arg("scores"), arg("factors"),
        py::kw_only(), stream);
  m.def("widen", &widen, arg("source"), arg("out"), py::kw_only(), stream);
#endif
  m.def("count_gram", &count_gram, arg("columns"), arg("begin"), arg("weight"), arg("gram"), py::kw_only(), threads,
        stream);
  m.def("solve", &solve, arg("gram"), arg("x"), arg("total"), arg("bad"), py::kw_only(), arg("least"), threads, stream);
}

}  // namespace xp
