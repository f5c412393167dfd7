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

// keep uint8 [M, S], place int64 [M]: bit of every row -> columns uint64 [S, words]; CPU
void pack_columns(Object keep, Object place, Object columns, int threads) {
  constexpr const char* kernel = "pack_columns";
  const Borrowed k = borrow(keep, Access::read, kernel), p = borrow(place, Access::read, kernel);
  const Borrowed c = borrow(columns, Access::write, kernel);
  require(k.axes == 2 && p.has_shape({k.shape[0]}) && p.contiguous() && c.axes == 2 && c.shape[0] == k.shape[1] &&
              c.contiguous(),
          kernel, "wants keep [M, S], place [M] and columns [S, words]");
  require(same_place(kernel, {&k, &p, &c}) == Place::cpu, kernel, "columns are packed on the CPU");
  const PackColumns args{
      k.as<uint8_t>(kernel), k.stride[0], k.stride[1], p.as<int64_t>(kernel), k.shape[0], k.shape[1], c.shape[1],
      c.as<uint64_t>(kernel)};
  for (int64_t m = 0; m < args.rows; ++m)
    require(args.place[m] >= 0 && args.place[m] < 64 * args.words, kernel, "a place lies outside the columns");
  py::gil_scoped_release release;
  pack_columns_cpu(args, threads);
}

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

// gram float64 [B, n, n] and x [B, m + 1, n] (ones last) are overwritten; total [B, m] or None; bad int64 [B]
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
  m.def("pack_columns", &pack_columns, arg("keep"), arg("place"), arg("columns"), py::kw_only(), threads);
  m.def("count_gram", &count_gram, arg("columns"), arg("begin"), arg("weight"), arg("gram"), py::kw_only(), threads,
        stream);
  m.def("solve", &solve, arg("gram"), arg("x"), arg("total"), arg("bad"), py::kw_only(), arg("least"), threads, stream);
}

}  // namespace xp
