// occlude_* and accumulate_*: one function per kind of edit. Tensors are logical views: items [N, C, H, W], positions
// [N, H, W], with stride 0 where an axis is shared.
#include <cmath>
#include <tuple>
#include <type_traits>

#include "bind/bindings.h"
#include "bind/tensor.h"
#include "kernels/accumulate.h"
#include "kernels/occlude.h"

namespace xp {
namespace {

using Object = const py::object&;

// ---- the edits -------------------------------------------------------------------------------------------------

struct Extent {
  int64_t items, edits, height, width;
};

WindowEdits windows(const TensorView& boxes, const Extent& e, const char* kernel) {
  require(boxes.has_shape({e.items, e.edits, 4}) && boxes.stride[2] == 1, kernel, "boxes must be int32 [N, M, 4]");
  return WindowEdits{boxes.as<int32_t>(kernel), boxes.stride[0], boxes.stride[1]};
}
CoalitionEdits coalitions(const TensorView& labels, const TensorView& keep, const Extent& e, const char* kernel) {
  const bool packed = keep.dtype != DType::u8;
  require(labels.has_shape({e.items, e.height, e.width}), kernel, "labels must be int32 [N, H, W]");
  require(keep.axes == 3 && keep.shape[0] == e.items && keep.shape[2] < (int64_t{1} << 31) &&
              keep.shape[1] == (packed ? ceil_div(e.edits, 32) : e.edits),
          kernel, "keep must be uint8 [N, M, S], or packed as int32 [N, ceil(M / 32), S]");
  return CoalitionEdits{labels.as<int32_t>(kernel),
                        labels.stride[0],
                        labels.stride[1],
                        labels.stride[2],
                        packed ? nullptr : keep.as<uint8_t>(kernel),
                        packed ? reinterpret_cast<const uint32_t*>(keep.as<int32_t>(kernel)) : nullptr,
                        keep.stride[0],
                        keep.stride[1],
                        keep.stride[2],
                        static_cast<uint32_t>(keep.shape[2])};
}
RankedEdits ranked(const TensorView& rank, const TensorView& counts, bool insert, const Extent& e, const char* kernel) {
  require(rank.has_shape({e.items, e.height, e.width}), kernel, "rank must be int32 [N, H, W]");
  require(counts.has_shape({e.edits}), kernel, "counts must be int64 [M]");
  return RankedEdits{rank.as<int32_t>(kernel),   rank.stride[0],   rank.stride[1], rank.stride[2],
                     counts.as<int64_t>(kernel), counts.stride[0], insert};
}
FullEdits full(const TensorView& masks, const Extent& e, const char* kernel) {
  require(masks.has_shape({e.items, e.edits, e.height, e.width}), kernel, "masks must be float32 [N, M, H, W]");
  return FullEdits{masks.as<float>(kernel), masks.stride[0], masks.stride[1], masks.stride[2], masks.stride[3]};
}
// (seed, first, rows, cols, keep): cells of ceil(H / rows) x ceil(W / cols) pixels
using GridTuple = std::tuple<uint64_t, int64_t, int32_t, int32_t, double>;
GridEdits grids(const GridTuple& grid, int64_t height, int64_t width, const char* kernel) {
  const auto [seed, first, rows, cols, keep] = grid;
  require(rows >= 1 && cols >= 1 && rows <= height && cols <= width, kernel, "cells must be between 1 and the plane");
  require(height < (1 << 24) && width < (1 << 24) && int64_t{rows + 1} * (cols + 1) < (1 << 24), kernel,
          "the plane is too large");
  require(keep >= 0.0 && keep <= 1.0 && first >= 0, kernel, "keep must be in [0, 1] and first not negative");
  const double threshold = std::nearbyint(keep * 4294967296.0);
  return GridEdits{GridGeometry{grid_axis(rows, height), grid_axis(cols, width), seed, first,
                                threshold >= 4294967295.0 ? 4294967295u : static_cast<uint32_t>(threshold)}};
}

// ---- occlude ---------------------------------------------------------------------------------------------------

// What all occlude functions share: x, fill, out and the rows wanted.
struct Fill {
  Borrowed x, fill, out, scale, shift;
  OccludeArgs args;
  Extent extent;

  Fill(const char* kernel, Object x_, Object fill_, Object scale_, Object shift_, Object out_, int64_t edits,
       int64_t start, uintptr_t stream)
      : x(borrow(x_, Access::read, kernel, stream)),
        fill(borrow(fill_, Access::read, kernel, stream)),
        out(borrow(out_, Access::write, kernel, stream)) {
    require(x.axes == 4 && out.axes == 4 && fill.axes == 4, kernel, "x, fill and out must be views [N, C, H, W]");
    require(fill.has_shape({x.shape[0], x.shape[1], x.shape[2], x.shape[3]}), kernel, "fill must have the shape of x");
    require(out.shape[1] == x.shape[1] && out.shape[2] == x.shape[2] && out.shape[3] == x.shape[3], kernel,
            "out must be rows of the shape of x");
    const bool planar = out.stride[3] == 1 || out.shape[3] == 1;
    const bool interleaved = out.stride[1] == 1 && out.stride[3] == out.shape[1];
    require(out.size() == 0 || planar || interleaved, kernel, "a row of out must be contiguous");
    require(start >= 0 && edits >= 1 && start + out.shape[0] <= x.shape[0] * edits, kernel,
            "rows lie outside the N * M there are");
    same_place(kernel, {&x, &fill, &out});
    extent = Extent{x.shape[0], edits, x.shape[2], x.shape[3]};
    args.x = x.as<float>(kernel);
    args.fill = fill.as<float>(kernel);
    args.scale = args.shift = nullptr;
    if (!scale_.is_none()) {
      scale = borrow(scale_, Access::read, kernel, stream);
      shift = borrow(shift_, Access::read, kernel, stream);
      require(
          scale.has_shape({x.shape[1]}) && shift.has_shape({x.shape[1]}) && scale.contiguous() && shift.contiguous(),
          kernel, "scale and shift must be [C]");
      same_place(kernel, {&x, &scale, &shift});
      args.scale = scale.as<float>(kernel);
      args.shift = shift.as<float>(kernel);
    }
    args.xs = strides4<Strides4>(x);
    args.fs = strides4<Strides4>(fill);
    args.os = strides4<Strides4>(out);
    if (planar) args.os.x = 1;
    args.out = out.data;
    args.channels = x.shape[1];
    args.height = x.shape[2];
    args.width = x.shape[3];
    args.edits = edits;
    args.start = start;
    args.stop = start + out.shape[0];
  }

  template <class Edits>
  void run(const char* kernel, const Edits& edits, int threads, uintptr_t stream) const {
    const bool device = on_device(kernel, x.place);
    if constexpr (std::is_same_v<Edits, CoalitionEdits>)
      require(!device || edits.packed, kernel, "the device wants keep packed, see pack_coalitions");
    py::gil_scoped_release release;
#ifdef XP_WITH_DEVICE
    if (device) return occlude_device(args, edits, out.dtype, x.device, stream);
#endif
    (void)stream;
    occlude_cpu(args, edits, out.dtype, threads);
  }
};

void occlude_windows(Object x, Object fill, Object scale, Object shift, Object out, Object boxes, int64_t start,
                     int threads, uintptr_t stream) {
  constexpr const char* kernel = "occlude_windows";
  const Borrowed b = borrow(boxes, Access::read, kernel, stream);
  const Fill f(kernel, x, fill, scale, shift, out, b.axes == 3 ? b.shape[1] : 0, start, stream);
  same_place(kernel, {&f.x, &b});
  f.run(kernel, windows(b, f.extent, kernel), threads, stream);
}
void occlude_coalitions(Object x, Object fill, Object scale, Object shift, Object out, Object labels, Object keep,
                        int64_t samples, int64_t start, int threads, uintptr_t stream) {
  constexpr const char* kernel = "occlude_coalitions";
  const Borrowed l = borrow(labels, Access::read, kernel, stream), k = borrow(keep, Access::read, kernel, stream);
  const Fill f(kernel, x, fill, scale, shift, out, samples, start, stream);
  same_place(kernel, {&f.x, &l, &k});
  f.run(kernel, coalitions(l, k, f.extent, kernel), threads, stream);
}
void occlude_ranked(Object x, Object fill, Object scale, Object shift, Object out, Object rank, Object counts,
                    bool insert, int64_t start, int threads, uintptr_t stream) {
  constexpr const char* kernel = "occlude_ranked";
  const Borrowed r = borrow(rank, Access::read, kernel, stream), c = borrow(counts, Access::read, kernel, stream);
  const Fill f(kernel, x, fill, scale, shift, out, c.size(), start, stream);
  same_place(kernel, {&f.x, &r, &c});
  f.run(kernel, ranked(r, c, insert, f.extent, kernel), threads, stream);
}
void occlude_full(Object x, Object fill, Object scale, Object shift, Object out, Object masks, int64_t start,
                  int threads, uintptr_t stream) {
  constexpr const char* kernel = "occlude_full";
  const Borrowed k = borrow(masks, Access::read, kernel, stream);
  const Fill f(kernel, x, fill, scale, shift, out, k.axes == 4 ? k.shape[1] : 0, start, stream);
  same_place(kernel, {&f.x, &k});
  f.run(kernel, full(k, f.extent, kernel), threads, stream);
}
void occlude_soft_grid(Object x, Object fill, Object scale, Object shift, Object out, const GridTuple& grid,
                       int64_t samples, int64_t start, int threads, uintptr_t stream) {
  constexpr const char* kernel = "occlude_soft_grid";
  const Fill f(kernel, x, fill, scale, shift, out, samples, start, stream);
  f.run(kernel, grids(grid, f.extent.height, f.extent.width, kernel), threads, stream);
}

// keep uint8 [N, M, S] -> words int32 [N, ceil(M / 32), S]
void pack_coalitions(Object keep, Object words, int threads, uintptr_t stream) {
  constexpr const char* kernel = "pack_coalitions";
  const Borrowed k = borrow(keep, Access::read, kernel, stream), w = borrow(words, Access::write, kernel, stream);
  require(k.axes == 3 && w.contiguous() && w.has_shape({k.shape[0], ceil_div(k.shape[1], 32), k.shape[2]}), kernel,
          "words must be contiguous int32 [N, ceil(M / 32), S] for keep uint8 [N, M, S]");
  const bool device = on_device(kernel, same_place(kernel, {&k, &w}));
  const PackKeep pack{k.as<uint8_t>(kernel),
                      k.stride[0],
                      k.stride[1],
                      k.stride[2],
                      k.shape[1],
                      k.shape[2],
                      reinterpret_cast<uint32_t*>(w.as<int32_t>(kernel))};
  py::gil_scoped_release release;
#ifdef XP_WITH_DEVICE
  if (device) return pack_keep_device(pack, w.size(), k.device, stream);
#endif
  (void)device;
  pack_keep_cpu(pack, w.size(), threads);
}

// ---- accumulate ------------------------------------------------------------------------------------------------

// What all accumulate functions share. On a device they need a workspace of 8-byte words: called without it they do
// nothing and return how many; having run, they return 0.
struct Sum {
  Borrowed weights, out, workspace;
  AccumulateArgs args;
  Extent extent;

  Sum(const char* kernel, Object weights_, Object out_, Object workspace_, uintptr_t stream)
      : weights(borrow(weights_, Access::read, kernel, stream)), out(borrow(out_, Access::write, kernel, stream)) {
    require(weights.axes == 3 && weights.contiguous(), kernel, "weights must be contiguous float64 [N, M, K]");
    require(out.axes == 4 && out.contiguous() && out.shape[0] == weights.shape[0] && out.shape[1] == weights.shape[2],
            kernel, "out must be contiguous float64 [N, K, H, W]");
    same_place(kernel, {&weights, &out});
    if (!workspace_.is_none()) {
      workspace = borrow(workspace_, Access::write, kernel, stream);
      require(workspace.contiguous() && size_of(workspace.dtype) == 8, kernel, "workspace must be of 8-byte words");
      same_place(kernel, {&out, &workspace});
    }
    args = AccumulateArgs{weights.as<double>(kernel), out.as<double>(kernel), weights.shape[0], weights.shape[1],
                          weights.shape[2],           out.shape[2],           out.shape[3]};
    extent = Extent{args.items, args.edits, args.height, args.width};
  }

  // on the device, or else host()
  template <class Edits, class Host>
  int64_t run(const char* kernel, [[maybe_unused]] const Edits& edits, [[maybe_unused]] bool squared,
              [[maybe_unused]] uintptr_t stream, Host host) const {
    [[maybe_unused]] const bool device = on_device(kernel, out.place);
#ifdef XP_WITH_DEVICE
    if (device) {
      if constexpr (std::is_same_v<Edits, CoalitionEdits>)
        require(edits.packed != nullptr, kernel, "the device wants keep packed, see pack_coalitions");
      const int64_t words = accumulate_words(args, edits);
      if (words > 0 && !workspace.data) return words;
      require(words == 0 || workspace.size() >= words, kernel, "the workspace is too small");
      py::gil_scoped_release release;
      accumulate_device(args, edits, squared, workspace.data, out.device, stream);
      return 0;
    }
#endif
    py::gil_scoped_release release;
    host();
    return 0;
  }
};

int64_t sum_windows(Object weights, Object out, Object boxes, Object workspace, int threads, uintptr_t stream) {
  constexpr const char* kernel = "accumulate_windows";
  const Sum s(kernel, weights, out, workspace, stream);
  const Borrowed b = borrow(boxes, Access::read, kernel, stream);
  same_place(kernel, {&s.out, &b});
  const WindowEdits edits = windows(b, s.extent, kernel);
  return s.run(kernel, edits, false, stream, [&] { accumulate_windows_cpu(s.args, edits, threads); });
}
int64_t sum_coalitions(Object weights, Object out, Object labels, Object keep, Object workspace, int threads,
                       uintptr_t stream) {
  constexpr const char* kernel = "accumulate_coalitions";
  const Sum s(kernel, weights, out, workspace, stream);
  const Borrowed l = borrow(labels, Access::read, kernel, stream), k = borrow(keep, Access::read, kernel, stream);
  same_place(kernel, {&s.out, &l, &k});
  const CoalitionEdits edits = coalitions(l, k, s.extent, kernel);
  return s.run(kernel, edits, false, stream, [&] { accumulate_coalitions_cpu(s.args, edits, threads); });
}
int64_t sum_full(Object weights, Object out, Object masks, Object workspace, bool squared, int threads,
                 uintptr_t stream) {
  constexpr const char* kernel = "accumulate_full";
  const Sum s(kernel, weights, out, workspace, stream);
  const Borrowed k = borrow(masks, Access::read, kernel, stream);
  same_place(kernel, {&s.out, &k});
  const FullEdits edits = full(k, s.extent, kernel);
  return s.run(kernel, edits, squared, stream, [&] { accumulate_full_cpu(s.args, edits, squared, threads); });
}
int64_t sum_soft_grid(Object weights, Object out, const GridTuple& grid, Object workspace, bool squared, int threads,
                      uintptr_t stream) {
  constexpr const char* kernel = "accumulate_soft_grid";
  const Sum s(kernel, weights, out, workspace, stream);
  const GridEdits edits = grids(grid, s.args.height, s.args.width, kernel);
  return s.run(kernel, edits, squared, stream, [&] { accumulate_grids_cpu(s.args, edits, squared, threads); });
}

// cells uint8 [count, rows + 1, cols + 1], shifts int32 [count, 2] as (y, x)
void soft_grid_cells(const GridTuple& grid, int64_t height, int64_t width, Object cells, Object shifts) {
  constexpr const char* kernel = "soft_grid_cells";
  const Borrowed c = borrow(cells, Access::write, kernel), s = borrow(shifts, Access::write, kernel);
  const GridGeometry g = grids(grid, height, width, kernel).grid;
  require(c.place == Place::cpu && c.contiguous() && c.axes == 3 && c.has_shape({c.shape[0], g.rows(), g.cols()}),
          kernel, "cells must be contiguous uint8 [count, rows + 1, cols + 1]");
  require(s.place == Place::cpu && s.contiguous() && s.has_shape({c.shape[0], 2}), kernel,
          "shifts must be contiguous int32 [count, 2]");
  auto* cell = c.as<uint8_t>(kernel);
  auto* shift = s.as<int32_t>(kernel);
  for (int64_t m = 0; m < c.shape[0]; ++m) {
    const Shift at = grid_shift(g, m);
    shift[2 * m] = at.y;
    shift[2 * m + 1] = at.x;
    for (int32_t w = 0; w < g.words(); ++w) {
      const uint32_t word = grid_word(g, m, w);
      for (int32_t bit = 0; bit < 32 && 32 * w + bit < g.cells(); ++bit)
        cell[m * g.cells() + 32 * w + bit] = (word >> bit) & 1u;
    }
  }
}

}  // namespace

void bind_perturb(py::module_& m) {
  using py::arg;
  const auto threads = arg("threads") = 0;
  const auto stream = arg("stream") = uintptr_t{0};
  m.def("occlude_windows", &occlude_windows, arg("x"), arg("fill"), arg("scale"), arg("shift"), arg("out"),
        arg("boxes"), py::kw_only(), arg("start"), threads, stream);
  m.def("occlude_coalitions", &occlude_coalitions, arg("x"), arg("fill"), arg("scale"), arg("shift"), arg("out"),
        arg("labels"), arg("keep"), py::kw_only(), arg("samples"), arg("start"), threads, stream);
  m.def("occlude_ranked", &occlude_ranked, arg("x"), arg("fill"), arg("scale"), arg("shift"), arg("out"), arg("rank"),
        arg("counts"), py::kw_only(), arg("insert"), arg("start"), threads, stream);
  m.def("occlude_full", &occlude_full, arg("x"), arg("fill"), arg("scale"), arg("shift"), arg("out"), arg("masks"),
        py::kw_only(), arg("start"), threads, stream);
  m.def("occlude_soft_grid", &occlude_soft_grid, arg("x"), arg("fill"), arg("scale"), arg("shift"), arg("out"),
        arg("grid"), py::kw_only(), arg("samples"), arg("start"), threads, stream);
  m.def("pack_coalitions", &pack_coalitions, arg("keep"), arg("words"), py::kw_only(), threads, stream);
  const auto workspace = arg("workspace") = py::none();
  m.def("accumulate_windows", &sum_windows, arg("weights"), arg("out"), arg("boxes"), workspace, py::kw_only(), threads,
        stream);
  m.def("accumulate_coalitions", &sum_coalitions, arg("weights"), arg("out"), arg("labels"), arg("keep"), workspace,
        py::kw_only(), threads, stream);
  m.def("accumulate_full", &sum_full, arg("weights"), arg("out"), arg("masks"), workspace, py::kw_only(),
        arg("squared"), threads, stream);
  m.def("accumulate_soft_grid", &sum_soft_grid, arg("weights"), arg("out"), arg("grid"), workspace, py::kw_only(),
        arg("squared"), threads, stream);
  m.def("soft_grid_cells", &soft_grid_cells, arg("grid"), arg("height"), arg("width"), arg("cells"), arg("shifts"));
}

}  // namespace xp
