// delta_*: kernels over windows of deltas. A delta tensor crosses the border as (windows int64 [N, 6], data [size],
// step): see kernels/delta.h. Deltas are float32 or bfloat16 (as uint16 bits); everything else is float32.
#include <pybind11/stl.h>

#include <optional>
#include <tuple>

#include "bind/bindings.h"
#include "bind/tensor.h"
#include "kernels/delta.h"

namespace xp {
namespace {

using Object = const py::object&;
using Ref = std::tuple<py::object, py::object, int64_t>;
using Bent = std::tuple<int64_t, float, float>;                                                     // Bend, low, high
using Kernel = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t>;  // Geometry

// A delta operand whose every pixel is known to lie inside its buffer.
struct Operand {
  Borrowed windows, data;
  int64_t step = 0, masks = -1;

  Operand() = default;
  Operand(const Ref& ref, Access access, int64_t channels, const char* kernel)
      : windows(borrow(std::get<0>(ref), Access::read, kernel)),
        data(borrow(std::get<1>(ref), access, kernel)),
        step(std::get<2>(ref)) {
    same_place(kernel, {&windows, &data});
    require(data.place == Place::cpu, kernel, "this build has no CUDA kernels");
    require(windows.axes == 2 && windows.shape[1] == delta::kWindowFields && windows.contiguous(), kernel,
            "windows must be contiguous int64 [N, 6]");
    require(data.axes == 1 && data.contiguous() && (data.dtype == DType::f32 || data.dtype == DType::bf16), kernel,
            "data must be a vector of float32 or bfloat16");
    require(channels >= 0 && step >= channels, kernel, "a pixel must hold all channels");
    masks = windows.shape[0];
    const auto* w = windows.as<int64_t>(kernel);
    for (int64_t m = 0; m < masks; ++m, w += delta::kWindowFields) {
      const int64_t h = w[2], wide = w[3], offset = w[4], pitch = w[5];
      require(h >= 0 && wide >= 0 && w[0] >= 0 && w[1] >= 0, kernel, "windows must lie inside the plane");
      if (h == 0 || wide == 0) continue;
      require(h < (1 << 24) && wide < (1 << 24) && offset >= 0 && pitch >= 0 && pitch <= data.shape[0], kernel,
              "a window lies outside its buffer");
      require(offset + (h - 1) * pitch + (wide - 1) * step + channels <= data.shape[0], kernel,
              "a window lies outside its buffer");
    }
  }
  void inside(int64_t height, int64_t width, const char* kernel) const {
    const auto* w = static_cast<const int64_t*>(windows.data);
    for (int64_t m = 0; m < masks; ++m, w += delta::kWindowFields)
      require(w[2] <= 0 || w[3] <= 0 || (w[0] + w[2] <= height && w[1] + w[3] <= width), kernel,
              "windows must lie inside the plane");
  }
  template <class T>
  delta::Deltas<T> as() const {
    return {static_cast<const delta::Window*>(windows.data), static_cast<T*>(data.data), step};
  }
};

Operand operand(const std::optional<Ref>& ref, Access access, int64_t channels, const char* kernel) {
  return ref ? Operand(*ref, access, channels, kernel) : Operand();
}
void agree(std::initializer_list<const Operand*> operands, const char* kernel) {
  const Operand& first = **operands.begin();
  for (const Operand* o : operands)
    require(o->masks < 0 || (o->masks == first.masks && o->data.dtype == first.data.dtype), kernel,
            "operands must have as many masks and the same type");
}

// A float32 array [height, width, step] of base values, or none.
struct Values {
  Borrowed tensor;
  delta::Base base;

  Values(Object values, int64_t channels, const char* kernel) {
    if (values.is_none()) return;
    tensor = borrow(values, Access::read, kernel);
    require(tensor.axes == 3 && tensor.contiguous() && tensor.shape[2] >= channels, kernel,
            "base values must be contiguous [H, W, channels]");
    base = delta::Base{tensor.as<float>(kernel), tensor.shape[0], tensor.shape[1], tensor.shape[2]};
  }
};
struct Vector {
  Borrowed tensor;
  const float* data = nullptr;

  Vector(Object values, int64_t count, const char* kernel) {
    if (values.is_none()) return;
    tensor = borrow(values, Access::read, kernel);
    require(tensor.axes == 1 && tensor.contiguous() && tensor.shape[0] >= count, kernel,
            "a vector is shorter than the channels");
    data = tensor.as<float>(kernel);
  }
};

delta::Geometry geometry(const Kernel& w, const char* kernel) {
  const auto [ky, kx, sy, sx, py, px, dy, dx] = w;
  require(ky >= 1 && kx >= 1 && ky <= 32 && kx <= 32 && sy >= 1 && sx >= 1 && dy >= 1 && dx >= 1, kernel,
          "kernels must have 1 to 32 taps per axis and positive strides");
  return {ky, kx, sy, sx, py, px, dy, dx};
}
delta::Activation bent(const Bent& b) {
  return {static_cast<delta::Bend>(std::get<0>(b)), std::get<1>(b), std::get<2>(b)};
}

template <class F>
void by_type(const Operand& o, F f) {
  py::gil_scoped_release release;
  if (o.data.dtype == DType::f32)
    f(float{});
  else
    f(bf16{});
}

// ---- convolutions ----------------------------------------------------------------------------------------------

void conv(const std::string& way, const Ref& in_, const Ref& out_, const std::optional<Ref>& residual_, Object weights_,
          Object panels_, int64_t channels_in, int64_t channels_out, const Kernel& window, Object base_,
          const Bent& act, Object scale_, Object shift_, Object load_base_, const Bent& load_act, int threads,
          int processor) {
  const char* kernel = "delta_conv";
  require(channels_in % delta::kLane == 0 && channels_out % delta::kLane == 0, kernel,
          "channels must be padded to a multiple of 16");
  const Operand in(in_, Access::read, channels_in, kernel), out(out_, Access::write, channels_out, kernel);
  const Operand residual = operand(residual_, Access::read, channels_out, kernel);
  agree({&in, &out, &residual}, kernel);
  const Values base(base_, channels_out, kernel), load_base(load_base_, channels_in, kernel);
  const Vector scale(scale_, channels_in, kernel), shift(shift_, channels_in, kernel);
  const Borrowed weights = borrow(weights_, Access::read, kernel), panels = borrow(panels_, Access::read, kernel);
  require(weights.contiguous() && panels.axes == 2 && panels.shape[1] == 3 && panels.contiguous(), kernel,
          "weights and panels [P, 3] must be contiguous");
  const delta::Geometry g = geometry(window, kernel);
  const int64_t taps = g.kernel_y * g.kernel_x;
  delta::ConvArgs a{in.masks,        channels_in,    channels_out, g,          panels.as<int64_t>(kernel),
                    panels.shape[0], base.base,      bent(act),    scale.data, shift.data,
                    load_base.base,  bent(load_act), threads,      processor};
  if (a.act.bend != delta::Bend::none) {
    require(base.base.data, kernel, "an activation needs base values");
    out.inside(base.base.height, base.base.width, kernel);
  }
  if (a.scale) {
    require(taps == 1 && g.stride_y == 1 && g.stride_x == 1 && g.pad_y == 0 && g.pad_x == 0 && a.shift, kernel,
            "only 1x1 kernels transform what they load");
    require(load_base.base.data, kernel, "a transformed input needs base values");
    in.inside(load_base.base.height, load_base.base.width, kernel);
  }
  if (way == "depthwise") {
    require(channels_in == channels_out && weights.size() >= taps * channels_out, kernel, "weights must be [taps, C]");
    const auto* w = weights.as<float>(kernel);
    return by_type(
        in, [&]<class T>(T) { delta::depthwise<T>(a, in.as<const T>(), out.as<T>(), residual.as<const T>(), w); });
  }
  require(a.panel_count * delta::kPanel >= channels_out, kernel, "there are too few panels");
  if (way == "winograd") {
    require(taps == 9 && g.stride_y == 1 && g.stride_x == 1 && g.dilation_y == 1 && g.dilation_x == 1, kernel,
            "Winograd needs a 3x3 kernel of stride 1");
    require(in.data.dtype == DType::f32 && weights.size() >= 36 * a.panel_count * channels_in * delta::kPanel, kernel,
            "Winograd needs float32 and weights [36, panels, C, 32]");
    const auto* w = weights.as<float>(kernel);
    py::gil_scoped_release release;
    return delta::winograd(a, in.as<const float>(), out.as<float>(), residual.as<const float>(), w);
  }
  require(way == "direct", kernel, "way must be direct, winograd or depthwise");
  require(weights.dtype == in.data.dtype, kernel, "weights must have the type of the deltas");
  for (int64_t p = 0; p < a.panel_count; ++p) {
    const int64_t first = a.panels[3 * p], length = a.panels[3 * p + 1], at = a.panels[3 * p + 2];
    require(first >= 0 && length >= 0 && first + length <= channels_in && at >= 0 &&
                at + taps * length * delta::kPanel <= weights.size() &&
                (in.data.dtype == DType::f32 || (first % 2 == 0 && length % 2 == 0)),
            kernel, "a panel lies outside the channels or the weights");
  }
  by_type(in, [&]<class T>(T) {
    delta::conv<T>(a, in.as<const T>(), out.as<T>(), residual.as<const T>(), static_cast<const T*>(weights.data));
  });
}

// ---- the rest --------------------------------------------------------------------------------------------------

void pool(int64_t kind, const Ref& in_, const Ref& out_, int64_t channels, const Kernel& window,
          std::tuple<int64_t, int64_t> far_pads, std::tuple<int64_t, int64_t> plane, Object base_in, Object base_out,
          int threads) {
  const char* kernel = "delta_pool";
  const Operand in(in_, Access::read, channels, kernel), out(out_, Access::write, channels, kernel);
  agree({&in, &out}, kernel);
  require(kind >= 0 && kind <= 2 && channels % delta::kLane == 0, kernel, "there is no such pooling");
  const Values before(base_in, channels, kernel), after(base_out, channels, kernel);
  delta::PoolArgs a{in.masks,
                    channels,
                    geometry(window, kernel),
                    std::get<0>(far_pads),
                    std::get<1>(far_pads),
                    static_cast<delta::Pool>(kind),
                    before.base,
                    after.base,
                    threads};
  if (a.pool == delta::Pool::max) {
    require(before.base.data && after.base.data, kernel, "a maximum needs base values");
    in.inside(a.in.height, a.in.width, kernel);
    out.inside(a.out.height, a.out.width, kernel);
  }
  a.in.height = std::get<0>(plane);
  a.in.width = std::get<1>(plane);
  require(a.pool != delta::Pool::max || (before.base.height == a.in.height && before.base.width == a.in.width), kernel,
          "base values must cover the plane");
  by_type(in, [&]<class T>(T) { delta::pool<T>(a, in.as<const T>(), out.as<T>()); });
}

void unary(int64_t function, const Ref& in_, const Ref& out_, int64_t channels, float low, float high, Object scale_,
           Object shift_, Object slope_, Object base_, int threads) {
  const char* kernel = "delta_unary";
  const Operand in(in_, Access::read, channels, kernel), out(out_, Access::write, channels, kernel);
  agree({&in, &out}, kernel);
  const Values base(base_, channels, kernel);
  const Vector scale(scale_, channels, kernel), shift(shift_, channels, kernel), slope(slope_, channels, kernel);
  require(function >= 0 && function <= static_cast<int64_t>(delta::Unary::abs) && channels % delta::kLane == 0 &&
              base.base.data && !scale.data == !shift.data &&
              (slope.data || function != static_cast<int64_t>(delta::Unary::leaky)),
          kernel, "arguments do not fit the function");
  out.inside(base.base.height, base.base.width, kernel);
  const delta::UnaryArgs a{
      in.masks,  channels, static_cast<delta::Unary>(function), low, high, scale.data, shift.data, slope.data,
      base.base, threads};
  by_type(in, [&]<class T>(T) { delta::unary<T>(a, in.as<const T>(), out.as<T>()); });
}

void binary(int64_t function, const std::optional<Ref>& first_, const std::optional<Ref>& second_, const Ref& out_,
            int64_t channels, Object base_first, Object base_second, Object base_, const Bent& act, int threads) {
  const char* kernel = "delta_binary";
  const Operand out(out_, Access::write, channels, kernel), first = operand(first_, Access::read, channels, kernel),
                                                            second = operand(second_, Access::read, channels, kernel);
  agree({&out, &first, &second}, kernel);
  const Values p(base_first, channels, kernel), q(base_second, channels, kernel), base(base_, channels, kernel);
  const delta::BinaryArgs a{out.masks, channels, static_cast<delta::Binary>(function), p.base, q.base, base.base,
                            bent(act), threads};
  require(function >= 0 && function <= 2 && channels % delta::kLane == 0, kernel, "there is no such function");
  if (a.function == delta::Binary::multiply) {
    require(p.base.data && q.base.data, kernel, "a product needs both base values");
    out.inside(p.base.height, p.base.width, kernel);
    out.inside(q.base.height, q.base.width, kernel);
  } else if (a.act.bend != delta::Bend::none) {
    require(base.base.data, kernel, "an activation needs base values");
    out.inside(base.base.height, base.base.width, kernel);
  }
  by_type(out, [&]<class T>(T) { delta::binary<T>(a, first.as<const T>(), second.as<const T>(), out.as<T>()); });
}

void scale(const Ref& in_, const Ref& out_, int64_t channels, Object factors_, int threads) {
  const char* kernel = "delta_scale";
  const Operand in(in_, Access::read, channels, kernel), out(out_, Access::write, channels, kernel);
  agree({&in, &out}, kernel);
  const Vector factors(factors_, channels, kernel);
  require(factors.data && channels % delta::kLane == 0, kernel, "factors are needed");
  by_type(in, [&]<class T>(T) {
    delta::scale<T>(in.masks, channels, factors.data, in.as<const T>(), out.as<T>(), threads);
  });
}

void gather(const Ref& in_, const Ref& out_, int64_t channels, Object rows_, Object columns_, int threads) {
  const char* kernel = "delta_gather";
  const Operand in(in_, Access::read, channels, kernel), out(out_, Access::write, channels, kernel);
  agree({&in, &out}, kernel);
  const int64_t *rows = nullptr, *columns = nullptr;
  Borrowed r, c;
  if (!rows_.is_none()) {
    r = borrow(rows_, Access::read, kernel);
    c = borrow(columns_, Access::read, kernel);
    require(r.axes == 1 && c.axes == 1 && r.contiguous() && c.contiguous(), kernel, "rows and columns are vectors");
    out.inside(r.shape[0], c.shape[0], kernel);
    rows = r.as<int64_t>(kernel);
    columns = c.as<int64_t>(kernel);
  }
  by_type(in, [&]<class T>(T) {
    delta::gather<T>(in.masks, channels, rows, columns, in.as<const T>(), out.as<T>(), threads);
  });
}

void clear_rim(Object inner, const Ref& outer_, int64_t channels, int threads) {
  const char* kernel = "delta_clear_rim";
  const Operand outer(outer_, Access::write, channels, kernel);
  const Borrowed windows = borrow(inner, Access::read, kernel);
  require(windows.has_shape({outer.masks, delta::kWindowFields}) && windows.contiguous(), kernel,
          "there must be as many inner windows");
  const auto* w = reinterpret_cast<const delta::Window*>(windows.as<int64_t>(kernel));
  by_type(outer, [&]<class T>(T) { delta::clear_rim<T>(outer.masks, channels, w, outer.as<T>(), threads); });
}

void enter(Object x_, Object fill_, const Ref& out_, int64_t channels, int threads) {
  const char* kernel = "delta_enter";
  const Operand out(out_, Access::write, channels, kernel);
  const Values x(x_, channels, kernel), fill(fill_, channels, kernel);
  require(x.base.data && fill.base.data && channels % delta::kLane == 0, kernel, "x and fill are needed");
  out.inside(x.base.height, x.base.width, kernel);
  out.inside(fill.base.height, fill.base.width, kernel);
  by_type(out, [&]<class T>(T) { delta::enter<T>(out.masks, channels, x.base, fill.base, out.as<T>(), threads); });
}

void leave(Object base_, const Ref& in_, Object out_, int64_t channels, int threads) {
  const char* kernel = "delta_leave";
  const Operand in(in_, Access::read, channels, kernel);
  const Values base(base_, channels, kernel);
  const Borrowed out = borrow(out_, Access::write, kernel);
  require(base.base.data && out.has_shape({in.masks, channels, base.base.height, base.base.width}) && out.contiguous(),
          kernel, "out must be contiguous [N, C, H, W]");
  in.inside(base.base.height, base.base.width, kernel);
  auto* to = out.as<float>(kernel);
  by_type(in, [&]<class T>(T) { delta::leave<T>(in.masks, channels, base.base, in.as<const T>(), to, threads); });
}

void plane_mean(Object base_, const Ref& in_, Object out_, int64_t channels, float factor, int threads) {
  const char* kernel = "delta_plane_mean";
  const Operand in(in_, Access::read, channels, kernel);
  const Vector base(base_, channels, kernel);
  const Borrowed out = borrow(out_, Access::write, kernel);
  require(base.data && out.has_shape({in.masks, channels}) && out.contiguous(), kernel, "out must be [N, C]");
  auto* to = out.as<float>(kernel);
  by_type(in, [&]<class T>(T) {
    delta::plane_mean<T>(in.masks, channels, base.data, factor, in.as<const T>(), to, threads);
  });
}

void channels_last(Object in_, Object out_) {
  const char* kernel = "delta_channels_last";
  const Borrowed in = borrow(in_, Access::read, kernel), out = borrow(out_, Access::write, kernel);
  require(in.axes == 3 && in.contiguous() && out.axes == 3 && out.contiguous() && out.shape[0] == in.shape[1] &&
              out.shape[1] == in.shape[2] && out.shape[2] >= in.shape[0],
          kernel, "got shapes other than [C, H, W] and [H, W, channels]");
  const auto* from = in.as<float>(kernel);
  auto* to = out.as<float>(kernel);
  py::gil_scoped_release release;
  delta::channels_last(in.shape[0], in.shape[1], in.shape[2], out.shape[2], from, to);
}

}  // namespace

void bind_delta(py::module_& m) {
  m.def("delta_conv", &conv);
  m.def("delta_pairs_pay", &delta::pairs_pay);
  m.def("delta_pool", &pool);
  m.def("delta_unary", &unary);
  m.def("delta_binary", &binary);
  m.def("delta_scale", &scale);
  m.def("delta_gather", &gather);
  m.def("delta_clear_rim", &clear_rim);
  m.def("delta_enter", &enter);
  m.def("delta_leave", &leave);
  m.def("delta_plane_mean", &plane_mean);
  m.def("delta_channels_last", &channels_last);
}

}  // namespace xp
