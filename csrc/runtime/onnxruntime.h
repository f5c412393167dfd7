// What is used of ONNX Runtime's C interface, stated here because its wheels carry no header and a build needs no
// network.
//
// Facts of include/onnxruntime/core/session/onnxruntime_c_api.h. `OrtApi` is a table of functions to which each version
// appends: "Size of version N API cannot change" is asserted there for every N, so an index holds for ever. The numbers
// below were counted in the header of 1.31 and agree with those assertions (the last entry of version 1 is 101, of 7 is
// 161, of 17 is 275). `OrtCustomOp` grows at its end too, and the runtime reads only what `version` says is there.
#pragma once
#include <cstddef>
#include <cstdint>

namespace xp::ort {

constexpr uint32_t kApiVersion =
    17;  // the first with a loop over the session's threads; 1.17 and every later one has it

struct Status;      // OrtStatus, nullptr where all is well
struct Options;     // OrtSessionOptions
struct Domain;      // OrtCustomOpDomain
struct KernelInfo;  // OrtKernelInfo
struct Context;     // OrtKernelContext
struct Value;       // OrtValue
struct Shape;       // OrtTensorTypeAndShapeInfo

using Entry = void (*)();

enum Index : size_t {
  kCreateStatus = 0,
  kCreateCustomOpDomain = 26,
  kAddToDomain = 27,  // CustomOpDomain_Add
  kAddDomain = 28,    // AddCustomOpDomain
  kTensorData = 51,   // GetTensorMutableData
  kAxes = 61,         // GetDimensionsCount
  kExtents = 62,      // GetDimensions
  kShapeOf = 65,      // GetTensorTypeAndShape
  kInputCount = 88,   // KernelContext_GetInputCount
  kInput = 90,        // KernelContext_GetInput
  kOutput = 91,       // KernelContext_GetOutput
  kReleaseShape = 99,
  kFloats = 162,       // KernelInfoGetAttributeArray_float
  kInts = 163,         // KernelInfoGetAttributeArray_int64
  kInfoInputs = 230,   // KernelInfo_GetInputCount
  kParallelFor = 274,  // KernelContext_ParallelFor
};

struct Api {
  Entry entries[276];

  template <class F>
  F* at(Index index) const {
    return reinterpret_cast<F*>(entries[index]);
  }
};

struct Base {                           // OrtApiBase
  const Api* (*api)(uint32_t version);  // nullptr where the runtime is older
  const char* (*version)();
};

constexpr int kInvalidArgument = 2;  // OrtErrorCode
constexpr int kFloat = 1;            // ONNXTensorElementDataType
constexpr int kVariadic = 2;         // OrtCustomOpInputOutputCharacteristic
constexpr int kRequired = 0;

struct CustomOp {  // OrtCustomOp as of version 17
  uint32_t version;
  void* (*create)(const CustomOp*, const Api*, const KernelInfo*);
  const char* (*name)(const CustomOp*);
  const char* (*provider)(const CustomOp*);
  int (*input_type)(const CustomOp*, size_t);
  size_t (*inputs)(const CustomOp*);
  int (*output_type)(const CustomOp*, size_t);
  size_t (*outputs)(const CustomOp*);
  void (*compute)(void*, Context*);
  void (*destroy)(void*);
  int (*input_characteristic)(const CustomOp*, size_t);
  int (*output_characteristic)(const CustomOp*, size_t);
  int (*input_memory)(const CustomOp*, size_t);
  int (*least_inputs)(const CustomOp*);
  int (*inputs_of_one_type)(const CustomOp*);
  int (*least_outputs)(const CustomOp*);
  int (*outputs_of_one_type)(const CustomOp*);
  Status* (*create_checked)(const CustomOp*, const Api*, const KernelInfo*, void**);
  Status* (*compute_checked)(void*, Context*);
  Status* (*infer_shape)(const CustomOp*, void*);
  int (*first_version)(const CustomOp*);
  int (*last_version)(const CustomOp*);
};

}  // namespace xp::ort
