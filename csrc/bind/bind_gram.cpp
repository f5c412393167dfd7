// Gram matrices; on the device alone, as a BLAS does them on the CPU.
#include <pybind11/stl.h>

#include <vector>

#include "bind/bindings.h"
#include "bind/tensor.h"
#include "kernels/gram.h"

namespace xp {
namespace {

using Object = const py::object&;

struct Layers {
  std::vector<Borrowed> features, grams;
  std::vector<GramLayer> layers;

  Layers(const char* kernel, const py::sequence& features_, const py::sequence& grams_,
         const std::vector<float>& scales, uintptr_t stream) {
    require(features_.size() == grams_.size() && features_.size() == scales.size() && features_.size() > 0, kernel,
            "features, grams and scales must be lists of one length");
    for (size_t i = 0; i < scales.size(); ++i) {
      features.push_back(borrow(features_[i], Access::read, kernel, stream));
      grams.push_back(borrow(grams_[i], Access::write, kernel, stream));
      const Borrowed &f = features.back(), &g = grams.back();
      require(f.axes == 2 && f.contiguous() && g.contiguous() && g.has_shape({f.shape[0], f.shape[0]}), kernel,
              "features must be contiguous [C, P] and grams float32 [C, C]");
      require(f.dtype == features.front().dtype, kernel, "features must be of one type");
      same_place(kernel, {&features.front(), &f, &g});
      layers.push_back(GramLayer{f.data, g.as<float>(kernel), f.shape[0], f.shape[1], scales[i]});
    }
  }
  GramPlan plan(int tile) const {
    return plan_grams(layers.data(), static_cast<int>(layers.size()), features.front().dtype, tile);
  }
};

int64_t gram_workspace(const py::sequence& features, const py::sequence& grams, const std::vector<float>& scales,
                       int tile, uintptr_t stream) {
  return Layers("gram", features, grams, scales, stream).plan(tile).workspace();
}

void gram(const py::sequence& features, const py::sequence& grams, const std::vector<float>& scales, Object workspace,
          int tile, int precision, uintptr_t stream) {
  constexpr const char* kernel = "gram";
  const Layers l(kernel, features, grams, scales, stream);
  const Borrowed w = borrow(workspace, Access::write, kernel, stream);
  const GramPlan plan = l.plan(tile);
  require(w.contiguous() && w.size() >= plan.workspace(), kernel, "the workspace is too small");
  require(on_device(kernel, same_place(kernel, {&l.features.front(), &w})), kernel, "use a BLAS on the CPU");
  py::gil_scoped_release release;
  gram_device(plan, l.features.front().dtype, precision ? GramPrecision::tf32x3 : GramPrecision::tf32,
              w.as<float>(kernel), w.device, stream);
}

void gram_backward(Object upstream, Object features, Object out, Object workspace, float scale, uintptr_t stream) {
  constexpr const char* kernel = "gram_backward";
  const Borrowed u = borrow(upstream, Access::read, kernel, stream), f = borrow(features, Access::read, kernel, stream);
  const Borrowed o = borrow(out, Access::write, kernel, stream), w = borrow(workspace, Access::write, kernel, stream);
  require(f.axes == 2 && f.contiguous() && o.contiguous() && u.contiguous() && w.contiguous(), kernel,
          "tensors must be contiguous");
  require(u.has_shape({f.shape[0], f.shape[0]}) && o.has_shape({f.shape[0], f.shape[1]}) && o.dtype == f.dtype, kernel,
          "wants upstream float32 [C, C], features and out [C, P] of one type");
  const GramBackward args{u.as<float>(kernel), f.data, o.data, w.data, f.shape[0], f.shape[1], scale, f.dtype};
  require(w.size() * size_of(w.dtype) >= args.channels * args.pitch() * size_of(f.dtype) &&
              reinterpret_cast<uintptr_t>(w.data) % 16 == 0,
          kernel, "the workspace must hold [C, C rounded up to 16] elements and be aligned to 16 bytes");
  require(on_device(kernel, same_place(kernel, {&u, &f, &o, &w})), kernel, "use a BLAS on the CPU");
  py::gil_scoped_release release;
  gram_backward_device(args, f.device, stream);
}

}  // namespace

void bind_gram(py::module_& m) {
  using py::arg;
  const auto stream = arg("stream") = uintptr_t{0};
  m.def("gram_tile", &gram_tile, arg("device"));
  m.def("gram_workspace", &gram_workspace, arg("features"), arg("grams"), arg("scales"), py::kw_only(), arg("tile"),
        stream);
  m.def("gram", &gram, arg("features"), arg("grams"), arg("scales"), arg("workspace"), py::kw_only(), arg("tile"),
        arg("precision"), stream);
  m.def("gram_backward", &gram_backward, arg("upstream"), arg("features"), arg("out"), arg("workspace"), py::kw_only(),
        arg("scale"), stream);
}

}  // namespace xp
