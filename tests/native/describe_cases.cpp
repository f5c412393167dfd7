// Random maps in buffers of their exact size, for sanitizers; prints a sum over the bits of all that is found, which
// must not depend on how this was compiled.
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>

#include "kernels/describe.cpp"

using namespace xp;

template <class T>
uint64_t mixed(uint64_t sum, const T* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    uint64_t bits = 0;
    memcpy(&bits, values + i, sizeof(T));
    if (values[i] != values[i]) bits = 1;  // which NaN it is says nothing
    sum = (sum ^ bits) * 1099511628211ull;
  }
  return sum;
}

int main() {
  std::mt19937 draw(1);
  uint64_t sum = 1469598103934665603ull;
  for (int t = 0; t < 1500; ++t) {
    const auto below = [&](uint32_t n) { return static_cast<int64_t>(draw() % n); };
    const int64_t N = below(3), D = 1 + below(3), H = 1 + below(30), W = 1 + below(70), R = below(4), C = 1 + below(3);
    const int64_t size = N * D * H * W, found = N * (kDescribed + R * C);
    std::unique_ptr<float[]> maps(new float[size]);
    std::unique_ptr<uint16_t[]> codes(new uint16_t[size]);
    std::unique_ptr<double[]> rows(new double[R * H]), columns(new double[C * W]), numbers(new double[found]);
    const float odd[] = {0.f, -0.f, 1e-45f, -1e-45f, 3e38f, -3e38f, INFINITY, NAN};
    for (int64_t i = 0; i < size; ++i) {
      const float v = static_cast<float>(static_cast<int32_t>(draw())) / 2147483648.f;
      maps[i] = t % 3 == 0 && below(20) == 0 ? odd[below(6 + 2 * (t % 2))] : v * v * v;
    }
    for (int64_t i = 0; i < R * H; ++i) rows[i] = static_cast<double>(below(1000)) / 999;
    for (int64_t i = 0; i < C * W; ++i) columns[i] = static_cast<double>(below(1000)) / 999;
    describe_cpu(
        {maps.get(), rows.get(), columns.get(), reinterpret_cast<f16*>(codes.get()), numbers.get(), N, D, H, W, R, C},
        1 + t % 3);
    sum = mixed(mixed(sum, numbers.get(), found), codes.get(), size);
  }
  std::printf("%016llx\n", static_cast<unsigned long long>(sum));
}
