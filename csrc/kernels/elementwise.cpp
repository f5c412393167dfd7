#include "kernels/elementwise.h"

#define XP_VARIANTS_OF "kernels/elementwise.inl"
#include "kernels/delta_variants.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>
#include <utility>

namespace xp {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw std::invalid_argument("A chain of element-wise steps " + why);
}

constexpr int operands(Op op) {
  switch (op) {
    case Op::where:
    case Op::clip:
    case Op::hard_sigmoid:
      return 3;
    case Op::negation:
    case Op::neg:
    case Op::abs:
    case Op::sign:
    case Op::relu:
    case Op::copy:
      return 1;
    default:
      return 2;
  }
}

// one step over one block, by the best variant that this processor runs
void block(const Work& work) {
  static const int level = delta::processor(2);
#if XP_HAS_CLONES
  if (level == 2) return delta::avx512::apply(work);
  if (level == 1) return delta::avx2::apply(work);
#endif
  delta::portable::apply(work);
}

// Asks for the block after this one: the processor does not follow streams that pause as often as these do.
void ask_ahead(const float* block) {
  const char* next = reinterpret_cast<const char*>(block + kBlock);
  for (size_t k = 0; k < kBlock * sizeof(float); k += 64) __builtin_prefetch(next + k);
}

// `count` elements of an input that repeats, from the result's element `begin` on
void gather(const float* from, const Repeated& at, int64_t begin, int64_t count, float* out) {
  const int last = static_cast<int>(at.extents.size()) - 1;
  const int64_t extent = at.extents[last], step = at.strides[last];
  while (count > 0) {
    int64_t rest = begin / extent, offset = 0;
    for (int k = last - 1; k >= 0; --k) {
      offset += rest % at.extents[k] * at.strides[k];
      rest /= at.extents[k];
    }
    const int64_t first = begin % extent, here = min64(extent - first, count);
    const float* row = from + offset + first * step;
    if (step == 0)
      std::fill_n(out, here, *row);
    else
      std::copy_n(row, here, out);  // along the last axis an input is contiguous
    begin += here, count -= here, out += here;
  }
}

}  // namespace

Chain::Chain(int inputs, std::vector<float> constants, const std::vector<int64_t>& steps)
    : inputs_(inputs), constants_(std::move(constants)) {
  known_ = inputs + static_cast<int32_t>(constants_.size());
  const auto count = static_cast<int32_t>(steps.size() / 4);
  if (inputs < 1 || known_ > kMostKnown) refuse("has too few or too many inputs and constants.");
  if (steps.size() % 4 != 0 || count < 1 || count > kMostSteps) refuse("has too few or too many steps.");
  for (int32_t k = 0; k < count; ++k) {
    const int64_t* s = &steps[4 * k];
    if (s[0] < 0 || s[0] >= static_cast<int64_t>(Op::count)) refuse("has no operator " + std::to_string(s[0]) + ".");
    const int reads = operands(static_cast<Op>(s[0]));
    for (int j = 1; j <= reads; ++j)
      if (s[j] < 0 || s[j] >= known_ + k) refuse("reads what is not there yet.");
    const auto at = [&](int j) { return j <= reads ? static_cast<int32_t>(s[j]) : -1; };
    const Step step{static_cast<Op>(s[0]), at(1), at(2), at(3)};
    if (step.op == Op::hard_sigmoid && std::min(step.b, step.c) < inputs) refuse("has a slope that is no constant.");
    if (step.op == Op::hard_sigmoid && std::max(step.b, step.c) >= known_) refuse("has a slope that is no constant.");
    steps_.push_back(step);
  }
  put_together();
  share_memory();
}

// Gates, by far the commonest chain: one pass instead of two, or four.
void Chain::put_together() {
  std::vector<int> uses(steps_.size());
  for (const Step& step : steps_)
    for (const int32_t r : step.reads())
      if (r >= known_) ++uses[r - known_];
  const auto once = [&](int32_t r, Op op) {
    return r >= known_ && uses[r - known_] == 1 && steps_[r - known_].op == op ? &steps_[r - known_] : nullptr;
  };
  for (Step& step : steps_) {
    if (step.op != Op::mul) continue;
    for (const auto& [gate, other] : {std::pair{step.a, step.b}, std::pair{step.b, step.a}}) {
      if (const Step* one = once(gate, Op::hard_sigmoid)) {
        step = Step{Op::gate, one->a, one->b, one->c, other};
        break;
      }
      const Step* both = once(gate, Op::gate);
      const Step* first = both ? once(both->x, Op::hard_sigmoid) : nullptr;
      if (!first || first->a != both->a) continue;
      step = Step{Op::gate_between, first->a, first->b, first->c, other, both->b, both->c};
      break;
    }
  }
  std::vector<int32_t> place(steps_.size(), -1);
  std::vector<bool> live(steps_.size());
  live.back() = true;
  for (size_t k = steps_.size(); k-- > 0;)
    if (live[k])
      for (const int32_t r : steps_[k].reads())
        if (r >= known_) live[r - known_] = true;
  std::vector<Step> kept;
  for (size_t k = 0; k < steps_.size(); ++k) {
    if (!live[k]) continue;
    for (int32_t* r : steps_[k].registers())
      if (*r >= known_) *r = known_ + place[*r - known_];
    place[k] = static_cast<int32_t>(kept.size());
    kept.push_back(steps_[k]);
  }
  steps_ = std::move(kept);
}

// A step's result is kept until it was last read; the result of the chain is written where it belongs.
void Chain::share_memory() {
  const auto count = static_cast<int32_t>(steps_.size());
  std::vector<int32_t> last_use(count, -1);
  for (int32_t k = 0; k < count; ++k)
    for (const int32_t r : steps_[k].reads())
      if (r >= known_) last_use[r - known_] = k;
  std::vector<int> free;
  alive_ = 1;  // the first is that of the result, of blocks that are not whole
  for (int32_t k = 0; k < count; ++k) {
    if (k + 1 == count) {
      slots_.push_back(0);
      break;
    }
    if (free.empty()) free.push_back(alive_++);
    slots_.push_back(free.back());
    free.pop_back();
    for (int32_t j = 0; j < k; ++j)
      if (last_use[j] == k) free.push_back(slots_[j]);  // only now: a step does not write what it reads
  }
}

void ChainRun::run(int64_t begin, int64_t end) const {
  const int32_t inputs = chain.inputs_, known = chain.known_, count = static_cast<int32_t>(chain.steps_.size());
  thread_local std::vector<float> memory;
  thread_local std::vector<const float*> registers;
  memory.resize(static_cast<size_t>(known + chain.alive_ + 1) * kBlock);
  registers.resize(known + count);
  const uintptr_t odd = reinterpret_cast<uintptr_t>(memory.data()) % 64 / sizeof(float);
  float* const aligned = memory.data() + (odd ? 16 - odd : 0);
  const auto slot = [&](int32_t k) { return aligned + static_cast<int64_t>(k) * kBlock; };
  for (int32_t i = 0; i < known; ++i) {
    const bool constant = i >= inputs;
    if (!constant && !single[i]) continue;
    std::fill_n(slot(i), kBlock, constant ? chain.constants_[i - inputs] : *data[i]);
    registers[i] = slot(i);
  }
  const auto at = [&](int32_t r) { return r < 0 ? nullptr : registers[r]; };
  for (; begin < end; begin += kBlock) {
    const int64_t n = min64(kBlock, end - begin);
    const bool whole = n == kBlock;
    for (int32_t i = 0; i < inputs; ++i) {
      if (single[i]) continue;
      const bool straight = layouts[i].extents.empty();
      registers[i] = straight && whole ? data[i] + begin : slot(i);
      if (straight && whole) {
        ask_ahead(registers[i]);
        continue;
      }
      if (straight)
        std::copy_n(data[i] + begin, n, slot(i));
      else
        gather(data[i], layouts[i], begin, n, slot(i));
      std::fill(slot(i) + n, slot(i) + kBlock, 0.f);
    }
    for (int32_t k = 0; k < count; ++k) {
      const Step& s = chain.steps_[k];
      float* to = k + 1 == count && whole ? out + begin : slot(known + chain.slots_[k]);
      block(Work{s.op, to, at(s.a), at(s.b), at(s.c), at(s.x), at(s.d), at(s.e)});
      registers[known + k] = to;
    }
    if (!whole) std::copy_n(slot(known), n, out + begin);
  }
}

std::vector<int64_t> broadcast(const std::vector<std::vector<int64_t>>& shapes) {
  size_t axes = 0;
  for (const auto& shape : shapes) axes = std::max(axes, shape.size());
  std::vector<int64_t> result(axes, 1);
  for (const auto& shape : shapes)
    for (size_t k = 0; k < shape.size(); ++k) {
      int64_t& extent = result[axes - shape.size() + k];
      if (extent == 1)
        extent = shape[k];
      else if (shape[k] != 1 && shape[k] != extent)
        refuse("has inputs whose shapes do not fit.");
    }
  return result;
}

Repeated repeated(const std::vector<int64_t>& shape, const std::vector<int64_t>& result) {
  Repeated found;
  int64_t stride = 1;
  for (size_t k = 0; k < result.size(); ++k) {  // from the last axis
    const int64_t extent = result[result.size() - 1 - k], own = k < shape.size() ? shape[shape.size() - 1 - k] : 1;
    if (extent == 1) continue;
    const int64_t step = own == 1 ? 0 : stride;
    if (!found.extents.empty() && (found.strides.back() == 0) == (step == 0))
      found.extents.back() *= extent;
    else
      found.extents.push_back(extent), found.strides.push_back(step);
    stride *= own;
  }
  std::reverse(found.extents.begin(), found.extents.end());
  std::reverse(found.strides.begin(), found.strides.end());
  if (found.extents.size() == 1 && found.strides[0] == 1) return {};
  return found;
}

}  // namespace xp
