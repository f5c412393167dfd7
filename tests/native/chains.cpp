// Random chains on random shapes, for the sanitizers: every operator, whole and broken blocks, inputs that repeat, and
// programs that must be refused. Prints how many ran.
#include <cstdio>
#include <random>
#include <stdexcept>

#include "kernels/elementwise.h"

int main() {
  std::mt19937 draw(7);
  const auto below = [&](int64_t n) { return static_cast<int64_t>(draw() % static_cast<uint32_t>(n)); };
  int ran = 0, refused = 0;
  for (int round = 0; round < 3000; ++round) {
    const int inputs = 1 + static_cast<int>(below(4));
    const std::vector<float> constants{2.f, -0.f};
    std::vector<int64_t> steps;
    const int64_t count = 1 + below(9), wild = below(5) == 0;
    for (int64_t k = 0; k < count; ++k) {
      const auto op = below(static_cast<int64_t>(xp::Op::count) + wild);
      const int64_t known = inputs + 2 + k + wild * below(3);
      const bool slope = op == static_cast<int64_t>(xp::Op::hard_sigmoid);
      steps.insert(steps.end(), {op, k ? inputs + 1 + k : below(known), slope ? inputs : below(known),
                                 slope ? inputs + 1 : below(known)});
    }
    try {
      const xp::Chain chain(inputs, constants, steps);
      std::vector<int64_t> result;
      for (int64_t axis = 0, axes = below(4); axis < axes; ++axis)
        result.push_back(below(6) ? 1 + below(40) : below(2));
      std::vector<std::vector<int64_t>> shapes;
      for (int i = 0; i < inputs; ++i) {
        std::vector<int64_t> shape(result.begin() + (i ? below(static_cast<int64_t>(result.size()) + 1) : 0),
                                   result.end());
        for (int64_t& extent : shape) extent = i && below(3) == 0 ? 1 : extent;
        shapes.push_back(shape);
      }
      std::vector<std::vector<float>> data;
      xp::ChainRun run{chain, {}, std::vector<xp::Repeated>(inputs), std::vector<uint8_t>(inputs), nullptr};
      int64_t total = 1;
      for (const int64_t extent : result) total *= extent;
      for (int i = 0; i < inputs; ++i) {
        int64_t size = 1;
        for (const int64_t extent : shapes[i]) size *= extent;
        data.emplace_back(size, static_cast<float>(below(9)) - 4.f);
      }
      for (int i = 0; i < inputs; ++i) {
        run.data.push_back(data[i].data());
        run.single[i] = 1;
        for (const int64_t extent : shapes[i]) run.single[i] &= extent == 1;
        if (!run.single[i] && shapes[i] != result) run.layouts[i] = xp::repeated(shapes[i], result);
      }
      if (xp::broadcast(shapes) != result) return 1;
      std::vector<float> out(total);
      run.out = out.data();
      run.run(0, total / 2);
      run.run(total / 2, total);
      ++ran;
    } catch (const std::invalid_argument&) {
      ++refused;
    }
  }
  std::printf("%d ran, %d refused\n", ran, refused);
  return ran > 1000 && refused > 100 ? 0 : 1;
}
