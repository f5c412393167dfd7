#include "kernels/occlude.h"

#include <emmintrin.h>

#include <type_traits>
#include <vector>

#include "core/check.h"
#include "core/parallel_for.h"
#include "kernels/edit_rows.h"

namespace xp {
namespace {

template <class T>
using Bits = std::conditional_t<
    sizeof(T) == 1, uint8_t,
    std::conditional_t<sizeof(T) == 2, uint16_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>>;

constexpr int64_t kLine = 64;                 // bytes of a cache line
constexpr int64_t kStreamAbove = 8 << 20;     // output larger than this passes the caches by
constexpr int64_t kBytesPerThread = 1 << 19;  // less is not worth starting a thread for

template <class T>
void store_line(T* out, const T* line) {
  auto* to = reinterpret_cast<__m128i*>(out);
  const auto* from = reinterpret_cast<const __m128i*>(line);
  for (int i = 0; i < 4; ++i) _mm_stream_si128(to + i, _mm_load_si128(from + i));
}

// out[i] = element(i) for i in [0, n); with `stream`, whole cache lines are written without being read first
template <class T, class F>
XP_HD void write_row(T* out, int64_t n, bool stream, F element) {
  constexpr int64_t per_line = kLine / static_cast<int64_t>(sizeof(T));
  int64_t i = 0;
  if (stream) {
    const int64_t head = (kLine - reinterpret_cast<uintptr_t>(out) % kLine) % kLine / static_cast<int64_t>(sizeof(T));
    for (; i < min64(head, n); ++i) out[i] = element(i);
    for (; i + per_line <= n; i += per_line) {
      alignas(kLine) T line[per_line];
      for (int64_t v = 0; v < per_line; ++v) line[v] = element(i + v);
      store_line(out + i, line);
    }
  }
  for (; i < n; ++i) out[i] = element(i);
}

template <class K>
XP_CLONES void copy_row(K* out, const K* from, int64_t n, bool stream) {
  write_row(out, n, stream, [=](int64_t i) { return from[i]; });
}
template <class K>
XP_CLONES void select_row(K* out, const K* x, const K* fill, const K* keep, int64_t n, bool stream) {
  write_row(out, n, stream, [=](int64_t i) { return static_cast<K>((x[i] & keep[i]) | (fill[i] & ~keep[i])); });
}
template <class T>
XP_CLONES void blend_row(T* out, const float* x, const float* fill, const float* mask, int64_t n, bool stream) {
  write_row(out, n, stream, [=](int64_t i) { return from_float<T>(blend(x[i], fill[i], mask[i])); });
}
template <class T>
XP_CLONES void convert_row(T* out, const float* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = from_float<T>(from[i]);
}

// One row of x and of fill for all channels, normalised: planar [C][W] or interleaved [W][C], as the output is.
struct PreparedRows {
  std::vector<float> x, fill;
  void set(const OccludeArgs& a, int64_t n, int64_t y, bool interleaved) {
    for (int64_t c = 0; c < a.channels; ++c) {
      const float* xr = a.x + n * a.xs.n + c * a.xs.c + y * a.xs.y;
      const float* fr = a.fill + n * a.fs.n + c * a.fs.c + y * a.fs.y;
      const int64_t base = interleaved ? c : c * a.width, step = interleaved ? a.channels : 1;
      for (int64_t i = 0; i < a.width; ++i) {
        x[base + i * step] = normalise(xr[i * a.xs.x], a.scale, a.shift, c);
        fill[base + i * step] = normalise(fr[i * a.fs.x], a.scale, a.shift, c);
      }
    }
  }
};

// Per position -> per element of an interleaved row.
template <class V>
void spread(std::vector<V>& row, int64_t width, int64_t channels) {
  for (int64_t x = width - 1; x >= 0; --x)
    for (int64_t c = channels - 1; c >= 0; --c) row[x * channels + c] = row[x];
}

struct Task {
  int64_t n, m0, m1, y0, y1;
};

template <class T, class Edits>
class Filler {
 public:
  Filler(const OccludeArgs& args, const Edits& edits, bool stream)
      : a(args),
        rows(edits, args.width),
        stream(stream),
        interleaved(args.os.x != 1),
        per_row(args.width * args.channels),
        mask(per_row),
        x_bits(per_row),
        fill_bits(per_row) {
    prepared.x.resize(per_row);
    prepared.fill.resize(per_row);
  }

  void run(const Task& task) {
    rows.block(task.n, task.m0, task.m1);
    for (int64_t y = task.y0; y < task.y1; ++y) {
      prepared.set(a, task.n, y, interleaved);
      rows.row(y);
      if constexpr (Edits::hard) {
        convert_row(reinterpret_cast<T*>(x_bits.data()), prepared.x.data(), per_row);
        convert_row(reinterpret_cast<T*>(fill_bits.data()), prepared.fill.data(), per_row);
      }
      for (int64_t m = task.m0; m < task.m1; ++m) write(task.n, m, y);
    }
    if (stream) _mm_sfence();
  }

 private:
  using Mask = std::conditional_t<Edits::hard, Bits<T>, float>;

  void write(int64_t n, int64_t m, int64_t y) {
    T* out = static_cast<T*>(a.out) + (n * a.edits + m - a.start) * a.os.n + y * a.os.y;
    RowKind kind = RowKind::mixed;
    if constexpr (Edits::hard)
      kind = rows.keep(m, mask.data());
    else
      rows.mask(m, mask.data());
    if (interleaved) {
      if (kind == RowKind::mixed) spread(mask, a.width, a.channels);
      return write_run(out, 0, per_row, kind);
    }
    for (int64_t c = 0; c < a.channels; ++c) write_run(out + c * a.os.c, c * a.width, a.width, kind);
  }

  void write_run(T* out, int64_t from, int64_t count, RowKind kind) {
    if constexpr (Edits::hard) {
      auto* bits = reinterpret_cast<Bits<T>*>(out);
      if (kind == RowKind::mixed)
        select_row(bits, &x_bits[from], &fill_bits[from], mask.data(), count, stream);
      else
        copy_row(bits, kind == RowKind::all_kept ? &x_bits[from] : &fill_bits[from], count, stream);
    } else {
      (void)kind;
      blend_row(out, &prepared.x[from], &prepared.fill[from], mask.data(), count, stream);
    }
  }

  const OccludeArgs& a;
  typename rows_of<Edits>::type rows;
  PreparedRows prepared;
  bool stream, interleaved;
  int64_t per_row;
  std::vector<Mask> mask;
  std::vector<Bits<T>> x_bits, fill_bits;
};

template <class T, class Edits>
void fill_rows(const OccludeArgs& args, const Edits& edits, int threads) {
  const int64_t bytes = (args.stop - args.start) * args.channels * args.height * args.width * sizeof(T);
  if (bytes == 0) return;
  const int count =
      static_cast<int>(min64(threads > 0 ? threads : available_threads(), max64(1, bytes / kBytesPerThread)));
  // rows of one item, at most a block of edits, cut into bands of the plane while there is less than work for all
  const int64_t blocks = ceil_div(args.stop - args.start, kEditBlock);
  const int64_t bands = min64(args.height, blocks >= 4 * count || count == 1 ? 1 : ceil_div(4 * count, blocks));
  std::vector<Task> tasks;
  for (int64_t r = args.start; r < args.stop;) {
    const int64_t n = r / args.edits, m0 = r % args.edits;
    const int64_t m1 = min64(min64(args.edits, m0 + kEditBlock), m0 + args.stop - r);
    for (int64_t b = 0; b < bands; ++b)
      tasks.push_back(Task{n, m0, m1, args.height * b / bands, args.height * (b + 1) / bands});
    r += m1 - m0;
  }
  const bool stream = bytes > kStreamAbove && reinterpret_cast<uintptr_t>(args.out) % sizeof(T) == 0;
  parallel_for(static_cast<int64_t>(tasks.size()), 1, count, [&](int64_t begin, int64_t end) {
    Filler<T, Edits> filler(args, edits, stream);
    for (int64_t i = begin; i < end; ++i) filler.run(tasks[i]);
  });
}

}  // namespace

template <class Edits>
void occlude_cpu(const OccludeArgs& args, const Edits& edits, DType out_type, int threads) {
  switch (out_type) {
    case DType::f32:
      return fill_rows<float>(args, edits, threads);
    case DType::f16:
      return fill_rows<f16>(args, edits, threads);
    case DType::bf16:
      return fill_rows<bf16>(args, edits, threads);
    case DType::f64:
      return fill_rows<double>(args, edits, threads);
    case DType::u8:
      return fill_rows<uint8_t>(args, edits, threads);
    default:
      refuse("occlude", std::string("cannot write ") + name_of(out_type));
  }
}
void pack_keep_cpu(const PackKeep& pack, int64_t words, int threads) {
  parallel_for(words, 1 << 14, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) pack(i);
  });
}
template void occlude_cpu(const OccludeArgs&, const WindowEdits&, DType, int);
template void occlude_cpu(const OccludeArgs&, const CoalitionEdits&, DType, int);
template void occlude_cpu(const OccludeArgs&, const RankedEdits&, DType, int);
template void occlude_cpu(const OccludeArgs&, const GridEdits&, DType, int);
template void occlude_cpu(const OccludeArgs&, const FullEdits&, DType, int);

}  // namespace xp
