// Textures by example.
#include "bind/bindings.h"
#include "bind/tensor.h"
#include "kernels/texture.h"

namespace xp {
namespace {

using Object = const py::object&;

Sample sample_of(const Borrowed& s, const char* kernel) {
  require(s.axes == 3 && s.contiguous() && s.shape[0] * s.shape[1] < (int64_t{1} << 31), kernel,
          "a sample must be contiguous uint8 [h, w, C]");
  return Sample{s.as<uint8_t>(kernel), s.shape[0], s.shape[1], s.shape[2]};
}

// out uint8 [H, W, C] and source int32 [H, W] are filled at order int32 [P], chosen by draws float64 [P]
void grow(Object sample, Object out, Object source, Object order, Object draws, Object weights, int64_t slack) {
  constexpr const char* kernel = "grow";
  const Borrowed s = borrow(sample, Access::read, kernel, 0), o = borrow(out, Access::write, kernel, 0);
  const Borrowed f = borrow(source, Access::write, kernel, 0), p = borrow(order, Access::read, kernel, 0);
  const Borrowed d = borrow(draws, Access::read, kernel, 0), w = borrow(weights, Access::read, kernel, 0);
  require(!on_device(kernel, same_place(kernel, {&s, &o, &f, &p, &d, &w})), kernel, "arrays must lie on the CPU");
  const Sample from = sample_of(s, kernel);
  require(o.axes == 3 && o.contiguous() && o.shape[2] == from.channels, kernel,
          "out must be contiguous uint8 [H, W, C]");
  require(f.contiguous() && f.has_shape({o.shape[0], o.shape[1]}), kernel, "source must be int32 [H, W]");
  require(p.axes == 1 && p.contiguous() && d.contiguous() && d.has_shape({p.shape[0]}), kernel, "one draw per place");
  require(w.axes == 2 && w.contiguous() && w.shape[0] == w.shape[1] && w.shape[0] % 2 == 1 &&
              w.shape[0] <= from.height && w.shape[0] <= from.width,
          kernel, "weights must be [W, W], W odd and no larger than the sample");
  const GrowArgs args{from,
                      o.as<uint8_t>(kernel),
                      f.as<int32_t>(kernel),
                      p.as<int32_t>(kernel),
                      d.as<double>(kernel),
                      w.as<int32_t>(kernel),
                      o.shape[0],
                      o.shape[1],
                      p.shape[0],
                      w.shape[0],
                      slack};
  const int64_t places = args.height * args.width, origins = from.height * from.width;
  for (int64_t k = 0; k < args.count; ++k)
    require(args.order[k] >= 0 && args.order[k] < places, kernel, "order must be places of out");
  for (int64_t k = 0; k < places; ++k) require(args.source[k] < origins, kernel, "source must be places of the sample");
  py::gil_scoped_release release;
  grow_cpu(args);
}

// out uint8 [H, W, C] and source int32 [H, W] are filled, from what the level above holds; empty arrays for none
void level(Object sample, Object out, Object source, Object sample_above, Object above, Object source_above,
           int64_t window, int64_t above_window) {
  constexpr const char* kernel = "level";
  const Borrowed s = borrow(sample, Access::read, kernel, 0), o = borrow(out, Access::write, kernel, 0);
  const Borrowed f = borrow(source, Access::write, kernel, 0), t = borrow(sample_above, Access::read, kernel, 0);
  const Borrowed p = borrow(above, Access::read, kernel, 0), g = borrow(source_above, Access::read, kernel, 0);
  require(!on_device(kernel, same_place(kernel, {&s, &o, &f, &t, &p, &g})), kernel, "arrays must lie on the CPU");
  const Sample from = sample_of(s, kernel), over = sample_of(t, kernel);
  require(o.axes == 3 && o.contiguous() && o.shape[2] == from.channels && f.contiguous() &&
              f.has_shape({o.shape[0], o.shape[1]}),
          kernel, "out must be contiguous uint8 [H, W, C], source int32 [H, W]");
  const bool some = over.height > 0;
  require(p.axes == 3 && p.contiguous() && g.contiguous() && g.has_shape({p.shape[0], p.shape[1]}) &&
              (!some || (p.shape[2] == from.channels && over.channels == from.channels && p.shape[0] > 0 &&
                         2 * p.shape[0] > o.shape[0] - 1 && 2 * p.shape[1] > o.shape[1] - 1)),
          kernel, "the level above must be half as large, with a source for each pixel");
  require(window % 2 == 1 && above_window % 2 == 1 && window > 0 && above_window > 0, kernel, "windows must be odd");
  const int64_t half = window / 2, wide = some ? above_window / 2 : 0;
  const int64_t bottom = some ? min64(from.height, 2 * (over.height - wide)) : from.height;
  const int64_t right = some ? min64(from.width - half, 2 * (over.width - wide)) : from.width - half;
  require(bottom > max64(half, 2 * wide) && right > max64(half, 2 * wide), kernel, "windows do not fit the sample");
  const LevelArgs args{from,
                       over,
                       o.as<uint8_t>(kernel),
                       f.as<int32_t>(kernel),
                       some ? p.as<uint8_t>(kernel) : nullptr,
                       some ? g.as<int32_t>(kernel) : nullptr,
                       o.shape[0],
                       o.shape[1],
                       p.shape[0],
                       p.shape[1],
                       window,
                       above_window};
  const auto known = [&](const int32_t* places, int64_t count, int64_t origins, int64_t least) {
    for (int64_t k = 0; k < count; ++k)
      require(places[k] >= least && places[k] < origins, kernel, "source must be places of the sample");
  };
  if (some) known(args.source_above, args.above_height * args.above_width, over.height * over.width, 0);
  py::gil_scoped_release release;
  level_cpu(args);
}

// out uint8 [rows * step + overlap, columns * step + overlap, C] is laid out with blocks, chosen by draws [rows,
// columns]
void quilt(Object sample, Object out, Object draws, int64_t block, int64_t overlap, int64_t slack) {
  constexpr const char* kernel = "quilt";
  const Borrowed s = borrow(sample, Access::read, kernel, 0), o = borrow(out, Access::write, kernel, 0);
  const Borrowed d = borrow(draws, Access::read, kernel, 0);
  require(!on_device(kernel, same_place(kernel, {&s, &o, &d})), kernel, "arrays must lie on the CPU");
  const Sample from = sample_of(s, kernel);
  require(block > overlap && overlap > 0 && block <= from.height && block <= from.width, kernel,
          "a block must be larger than the overlap and no larger than the sample");
  require(d.axes == 2 && d.contiguous(), kernel, "draws must be [rows, columns]");
  const int64_t step = block - overlap, high = d.shape[0] * step + overlap, wide = d.shape[1] * step + overlap;
  require(o.contiguous() && o.has_shape({high, wide, from.channels}), kernel, "out has not the blocks' size");
  const QuiltArgs args{from, o.as<uint8_t>(kernel), d.as<double>(kernel), d.shape[0], d.shape[1], block, overlap,
                       slack};
  py::gil_scoped_release release;
  quilt_cpu(args);
}

}  // namespace

void bind_texture(py::module_& m) {
  using py::arg;
  m.def("grow", &grow, arg("sample"), arg("out"), arg("source"), arg("order"), arg("draws"), arg("weights"),
        py::kw_only(), arg("slack"));
  m.def("level", &level, arg("sample"), arg("out"), arg("source"), arg("sample_above"), arg("above"),
        arg("source_above"), py::kw_only(), arg("window"), arg("above_window"));
  m.def("quilt", &quilt, arg("sample"), arg("out"), arg("draws"), py::kw_only(), arg("block"), arg("overlap"),
        arg("slack"));
}

}  // namespace xp
