// The operator `Elementwise` of the domain `xplain.native`, for ONNX Runtime's CPU sessions: `inputs -> one output`,
// with the attributes `steps` (four integers each) and `constants` of a chain, see kernels/elementwise.h.
//
// The runtime finds it by the symbol `RegisterCustomOps` of the library that it is told to load, which is this module.
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "kernels/elementwise.h"
#include "runtime/onnxruntime.h"

namespace xp::ort {
namespace {

constexpr int64_t kShare = 16 * kBlock;  // elements that a thread takes at once

Status* refused(const Api* api, const char* why) {
  return api->at<Status*(int, const char*)>(kCreateStatus)(kInvalidArgument, why);
}

// The error of a call of the runtime, thrown through our frames and given back as it is.
struct Failed {
  Status* status;
};
void check(Status* status) {
  if (status) throw Failed{status};
}

// What `f` does; what it throws as the runtime's status.
template <class F>
Status* guarded(const Api* api, F f) {
  try {
    f();
    return nullptr;
  } catch (const Failed& failed) {
    return failed.status;
  } catch (const std::exception& error) {
    return refused(api, error.what());
  }
}

template <class T>
std::vector<T> attribute(const Api* api, const KernelInfo* info, Index index, const char* name) {
  const auto read = api->at<Status*(const KernelInfo*, const char*, T*, size_t*)>(index);
  size_t size = 0;
  check(read(info, name, nullptr, &size));
  std::vector<T> values(size);
  if (size) check(read(info, name, values.data(), &size));
  return values;
}

struct Kernel {
  const Api* api;
  Chain chain;

  std::vector<int64_t> shape_of(const Value* value) const {
    Shape* shape = nullptr;
    check(api->at<Status*(const Value*, Shape**)>(kShapeOf)(value, &shape));
    const std::unique_ptr<Shape, void (*)(Shape*)> held(shape, api->at<void(Shape*)>(kReleaseShape));
    size_t axes = 0;
    check(api->at<Status*(const Shape*, size_t*)>(kAxes)(shape, &axes));
    std::vector<int64_t> extents(axes);
    check(api->at<Status*(const Shape*, int64_t*, size_t)>(kExtents)(shape, extents.data(), axes));
    return extents;
  }

  float* data_of(const Value* value) const {
    void* data = nullptr;
    check(api->at<Status*(const Value*, void**)>(kTensorData)(value, &data));
    return static_cast<float*>(data);
  }

  void compute(Context* context) const {
    size_t count = 0;
    check(api->at<Status*(const Context*, size_t*)>(kInputCount)(context, &count));
    if (count != static_cast<size_t>(chain.inputs())) throw std::invalid_argument("Another number of inputs came.");
    std::vector<std::vector<int64_t>> shapes(count);
    ChainRun run{chain, std::vector<const float*>(count), std::vector<Repeated>(count), std::vector<uint8_t>(count),
                 nullptr};
    for (size_t i = 0; i < count; ++i) {
      const Value* value = nullptr;
      check(api->at<Status*(const Context*, size_t, const Value**)>(kInput)(context, i, &value));
      shapes[i] = shape_of(value);
      run.data[i] = data_of(value);
      run.single[i] = 1;
      for (const int64_t extent : shapes[i]) run.single[i] &= extent == 1;
    }
    const std::vector<int64_t> shape = broadcast(shapes);
    int64_t total = 1;
    for (const int64_t extent : shape) total *= extent;
    for (size_t i = 0; i < count; ++i)
      if (!run.single[i] && shapes[i] != shape) run.layouts[i] = repeated(shapes[i], shape);
    Value* result = nullptr;
    check(api->at<Status*(Context*, size_t, const int64_t*, size_t, Value**)>(kOutput)(context, 0, shape.data(),
                                                                                       shape.size(), &result));
    run.out = data_of(result);
    if (total <= kShare) return run.run(0, total);
    struct Shares {
      const ChainRun& run;
      int64_t total;
      std::atomic<bool> failed{false};
    } shares{run, total};
    // noexcept: nothing may be thrown through the runtime's threads, and a thread's first share asks for memory
    const auto one = [](void* given, size_t k) noexcept {
      Shares& s = *static_cast<Shares*>(given);
      const int64_t begin = static_cast<int64_t>(k) * kShare;
      try {
        s.run.run(begin, min64(begin + kShare, s.total));
      } catch (const std::bad_alloc&) {
        s.failed = true;
      }
    };
    check(api->at<Status*(const Context*, void (*)(void*, size_t), size_t, size_t, void*)>(kParallelFor)(
        context, one, static_cast<size_t>(ceil_div(total, kShare)), 0, &shares));
    if (shares.failed) throw std::bad_alloc();
  }
};

Status* create(const CustomOp*, const Api* api, const KernelInfo* info, void** kernel) {
  return guarded(api, [&] {
    size_t inputs = 0;
    check(api->at<Status*(const KernelInfo*, size_t*)>(kInfoInputs)(info, &inputs));
    *kernel = new Kernel{api, Chain(static_cast<int>(inputs), attribute<float>(api, info, kFloats, "constants"),
                                    attribute<int64_t>(api, info, kInts, "steps"))};
  });
}

Status* compute(void* given, Context* context) {
  const Kernel& kernel = *static_cast<const Kernel*>(given);
  return guarded(kernel.api, [&] { kernel.compute(context); });
}

const CustomOp& elementwise() {
  static const CustomOp op = [] {
    CustomOp made{};
    made.version = kApiVersion;
    made.name = [](const CustomOp*) { return "Elementwise"; };
    made.provider = [](const CustomOp*) { return static_cast<const char*>(nullptr); };
    made.inputs = made.outputs = [](const CustomOp*) { return size_t{1}; };
    made.input_type = made.output_type = [](const CustomOp*, size_t) { return kFloat; };
    made.input_characteristic = [](const CustomOp*, size_t) { return kVariadic; };
    made.output_characteristic = [](const CustomOp*, size_t) { return kRequired; };
    made.input_memory = [](const CustomOp*, size_t) { return 0; };
    made.least_inputs = made.inputs_of_one_type = [](const CustomOp*) { return 1; };
    made.least_outputs = made.outputs_of_one_type = [](const CustomOp*) { return 1; };
    made.create_checked = create;
    made.compute_checked = compute;
    made.destroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
    return made;
  }();
  return op;
}

// The domain lives as long as the process: options and sessions hold it, and nobody says when the last of them has
// gone.
Domain* domain(const Api* api) {
  static std::mutex alone;
  static Domain* made = nullptr;
  const std::lock_guard<std::mutex> lock(alone);
  if (made) return made;
  Domain* fresh = nullptr;
  check(api->at<Status*(const char*, Domain**)>(kCreateCustomOpDomain)("xplain.native", &fresh));
  check(api->at<Status*(Domain*, const CustomOp*)>(kAddToDomain)(fresh, &elementwise()));
  return made = fresh;
}

}  // namespace
}  // namespace xp::ort

extern "C" __attribute__((visibility("default"))) xp::ort::Status* RegisterCustomOps(xp::ort::Options* options,
                                                                                     const xp::ort::Base* base) {
  using namespace xp::ort;
  const Api* api = base->api(kApiVersion);
  if (!api) return nullptr;  // an older runtime: the operator is unknown there, and a graph that holds it is refused
  return guarded(api, [&] { check(api->at<Status*(Options*, Domain*)>(kAddDomain)(options, domain(api))); });
}
