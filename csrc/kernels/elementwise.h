// A chain of element-wise operators run block by block: each input is read once, the result is written once, and what
// lies between stays in the first cache.
//
//   register r:  inputs 0 .. I - 1, constants I .. I + K - 1, then one per step; the last step is the result
//   step:        operator, three registers (those that the operator does not read are 0)
//
// Every operator is a single rounding or none, in the order of the graph, so results have the bits that the operators
// have one by one. A truth value is 1 or 0.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "core/portable.h"

namespace xp {

enum class Op : int64_t {
  add,
  sub,
  mul,
  div,
  least,
  most,  // a ? b
  greater,
  greater_equal,
  less,
  less_equal,
  equal,  // a ? b
  both,
  either,
  negation,  // And, Or, Not
  where,     // a ? b : c
  neg,
  abs,
  sign,
  relu,
  copy,          // of a
  leaky_relu,    // a, or b a where a is negative
  clip,          // a between b and c
  hard_sigmoid,  // max(0, min(1, b a + c)); b and c are constants
  count,         // how many a program may name; made of them are
  gate,
  gate_between  // x hard_sigmoid(a), and with a second one of a
};

// Registers that a step reads; -1 for those that it does not.
struct Step {
  Op op;
  int32_t a, b = -1, c = -1, x = -1, d = -1, e = -1;

  std::array<int32_t, 6> reads() const { return {a, b, c, x, d, e}; }
  std::array<int32_t*, 6> registers() { return {&a, &b, &c, &x, &d, &e}; }
};

// A step over one block.
struct Work {
  Op op;
  float* out;
  const float *a, *b, *c, *x, *d, *e;
};

constexpr int kBlock = 512;     // floats of a register: a dozen of them fill half a first cache
constexpr int kMostKnown = 64;  // inputs and constants
constexpr int kMostSteps = 256;

// A checked chain. Registers that live at different times share memory.
class Chain {
 public:
  // Throws std::invalid_argument where a step reads what is not there yet, or there are too many.
  Chain(int inputs, std::vector<float> constants, const std::vector<int64_t>& steps);

  int32_t inputs() const { return inputs_; }

  friend struct ChainRun;

 private:
  void put_together();
  void share_memory();

  int32_t inputs_, known_;  // known_: inputs and constants
  std::vector<float> constants_;
  std::vector<Step> steps_;
  std::vector<int32_t> slots_;  // of each step: where its result is kept
  int32_t alive_ = 0;           // how many such places there are
};

// How an input lies beside the result: the axes of the result, those that it has or repeats put together.
struct Repeated {
  std::vector<int64_t> extents, strides;  // in floats; a stride of 0 repeats
};

struct ChainRun {
  const Chain& chain;
  std::vector<const float*> data;  // of each input
  std::vector<Repeated> layouts;   // of each input; no axes where it lies as the result does
  std::vector<uint8_t> single;     // whether an input is one number
  float* out;

  // the result's elements [begin, end)
  void run(int64_t begin, int64_t end) const;
};

// The shape of the result, by ONNX's (numpy's) rules; throws std::invalid_argument where shapes do not fit.
std::vector<int64_t> broadcast(const std::vector<std::vector<int64_t>>& shapes);
// How an input of a shape lies beside a result of a shape.
Repeated repeated(const std::vector<int64_t>& shape, const std::vector<int64_t>& result);

}  // namespace xp
