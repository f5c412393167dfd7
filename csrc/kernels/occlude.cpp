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
constexpr int64_t kPiece = 16;                // bytes of the smallest store that passes the caches by
constexpr int64_t kBand = 8;                  // rows of one edit that are written one after another
constexpr int64_t kBandBytes = 1 << 14;       // of one plane of a band: picture, fill and mask stay in the first cache
constexpr int64_t kStreamAbove = 8 << 20;     // output larger than this passes the caches by
constexpr int64_t kBytesPerThread = 1 << 19;  // less is not worth starting a thread for

// Elements i .. i + bytes / sizeof(T) of a row, past the caches.
template <int kBytes, class T, class F>
XP_HD void stream_out(T* out, int64_t i, F element) {
  constexpr int64_t count = kBytes / static_cast<int64_t>(sizeof(T));
  alignas(kBytes) T some[count];
#pragma GCC unroll 1  // a loop is made into vectors; taken apart, it would be put together number by number
  for (int64_t v = 0; v < count; ++v) some[v] = element(i + v);
  auto* to = reinterpret_cast<__m128i*>(out + i);
  const auto* from = reinterpret_cast<const __m128i*>(some);
  for (int k = 0; k < kBytes / kPiece; ++k) _mm_stream_si128(to + k, _mm_load_si128(from + k));
}

// out[i] = element(i) for i in [0, n); with `stream`, memory is written without being read first. Only what fills less
// than a piece is stored as usual: the processor joins pieces to lines, also across the rows of a band.
template <class T, class F>
XP_HD void write_row(T* out, int64_t n, bool stream, F element) {
  constexpr int64_t per_line = kLine / static_cast<int64_t>(sizeof(T)), per_piece = kPiece / sizeof(T);
  int64_t i = 0;
  if (stream) {
    const auto at = reinterpret_cast<uintptr_t>(out);
    const int64_t odd = (kPiece - at % kPiece) % kPiece / static_cast<int64_t>(sizeof(T));
    const int64_t head = (kLine - at % kLine) % kLine / static_cast<int64_t>(sizeof(T));
    for (; i < min64(odd, n); ++i) out[i] = element(i);
    for (; i < head && i + per_piece <= n; i += per_piece) stream_out<kPiece>(out, i, element);
    if (i >= head)
      for (; i + per_line <= n; i += per_line) stream_out<kLine>(out, i, element);
    for (; i + per_piece <= n; i += per_piece) stream_out<kPiece>(out, i, element);
  }
  for (; i < n; ++i) out[i] = element(i);
}

template <class K>
XP_CLONES void copy_row(K* out, const K* from, int64_t n, bool stream) {
  write_row(out, n, stream, [=](int64_t i) { return from[i]; });
}
template <class K, class Keep>
XP_CLONES void select_row(K* out, const K* x, const K* fill, const uint32_t* code, Keep keep, int64_t n, bool stream) {
  write_row(out, n, stream, [=](int64_t i) {  // without a branch, which the compiler would keep
    const K kept = static_cast<K>(K{0} - static_cast<K>(keep(code[i])));
    return static_cast<K>((x[i] & kept) | (fill[i] & ~kept));
  });
}
template <class T>
XP_CLONES void blend_row(T* out, const float* x, const float* fill, const float* mask, int64_t n, bool stream) {
  write_row(out, n, stream, [=](int64_t i) { return from_float<T>(blend(x[i], fill[i], mask[i])); });
}
template <class T>
XP_CLONES void convert_row(T* out, const float* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = from_float<T>(from[i]);
}

// One row of x and of fill, normalised; `step` from one position to the next and `plane` from one channel to the next.
void prepare_row(const OccludeArgs& a, int64_t n, int64_t y, int64_t step, int64_t plane, float* x, float* fill) {
  for (int64_t c = 0; c < a.channels; ++c, x += plane, fill += plane) {
    const float* xr = a.x + n * a.xs.n + c * a.xs.c + y * a.xs.y;
    const float* fr = a.fill + n * a.fs.n + c * a.fs.c + y * a.fs.y;
    for (int64_t i = 0; i < a.width; ++i) {
      x[i * step] = normalise(xr[i * a.xs.x], a.scale, a.shift, c);
      fill[i * step] = normalise(fr[i * a.fs.x], a.scale, a.shift, c);
    }
  }
}

struct Task {
  int64_t n, m0, m1, y0, y1;
};

// Writes a band of rows of one edit after another: rows of one plane follow each other in memory, so the lines that two
// rows share are written whole.
template <class T, class Edits>
class Filler {
 public:
  Filler(const OccludeArgs& args, const Edits& edits, bool stream)
      : a(args),
        rows(edits, args.width, args.os.x != 1 ? args.channels : 1),
        stream(stream),
        interleaved(args.os.x != 1),
        per_row(args.width * args.channels),
        pitch(interleaved ? per_row : args.width),
        band(max64(1, min64(kBand, kBandBytes / max64(1, pitch * static_cast<int64_t>(sizeof(float)))))),
        mask(band * pitch + kVector),
        x(band * per_row),
        fill(band * per_row),
        x_bits(Edits::hard ? band * per_row : 0),
        fill_bits(x_bits.size()) {}

  void run(const Task& task) {
    rows.block(task.n, task.m0, task.m1);
    for (int64_t y = task.y0; y < task.y1; y += band) {
      const int64_t count = min64(band, task.y1 - y);
      prepare(task.n, y, count);
      for (int64_t m = task.m0; m < task.m1; ++m) {
        T* out = static_cast<T*>(a.out) + (task.n * a.edits + m - a.start) * a.os.n + y * a.os.y;
        if constexpr (Edits::hard)
          select(out, m, y, count);
        else
          blend(out, m, y, count);
      }
    }
    if (stream) _mm_sfence();
  }

 private:
  using Mask = std::conditional_t<Edits::hard, uint32_t, float>;  // codes serve all edits, a soft mask serves one

  void prepare(int64_t n, int64_t y, int64_t count) {
    const int64_t step = interleaved ? a.channels : 1, plane = interleaved ? 1 : band * a.width;
    for (int64_t k = 0; k < count; ++k) {
      prepare_row(a, n, y + k, step, plane, &x[k * pitch], &fill[k * pitch]);
      if constexpr (Edits::hard) rows.codes(y + k, &mask[k * pitch]);
    }
    if constexpr (Edits::hard) {
      convert_row(reinterpret_cast<T*>(x_bits.data()), x.data(), band * per_row);
      convert_row(reinterpret_cast<T*>(fill_bits.data()), fill.data(), band * per_row);
    }
  }

  // fn(offset in the output, in the band's buffers, in its mask, count) for `count` rows of the band from row `k` on,
  // plane by plane; rows that follow each other in memory are one run
  template <class F>
  void runs(int64_t k, int64_t count, F fn) {
    const bool joined = a.os.y == pitch;
    for (int64_t c = 0; c < (interleaved ? 1 : a.channels); ++c) {
      const int64_t out = c * a.os.c, from = c * band * a.width;
      if (joined)
        fn(out + k * pitch, from + k * pitch, k * pitch, count * pitch);
      else
        for (int64_t r = k; r < k + count; ++r) fn(out + r * a.os.y, from + r * pitch, r * pitch, pitch);
    }
  }

  void select(T* out, int64_t m, int64_t y, int64_t count) {
    auto* bits = reinterpret_cast<Bits<T>*>(out);
    for (int64_t k = 0, next; k < count; k = next) {  // rows of which the edit keeps the same
      const auto keep = rows.keep(m, y + k);
      for (next = k + 1; next < count && rows.keep(m, y + next).same(keep);) ++next;
      runs(k, next - k, [&](int64_t to, int64_t from, int64_t at, int64_t n) {
        if (keep.kind == RowKind::mixed)
          select_row(bits + to, &x_bits[from], &fill_bits[from], &mask[at], keep, n, stream);
        else
          copy_row(bits + to, keep.kind == RowKind::all_kept ? &x_bits[from] : &fill_bits[from], n, stream);
      });
    }
  }

  void blend(T* out, int64_t m, int64_t y, int64_t count) {
    for (int64_t k = 0; k < count; ++k) rows.mask(m, y + k, &mask[k * pitch]);
    runs(0, count, [&](int64_t to, int64_t from, int64_t at, int64_t n) {
      blend_row(out + to, &x[from], &fill[from], &mask[at], n, stream);
    });
  }

  const OccludeArgs& a;
  typename rows_of<Edits>::type rows;
  bool stream, interleaved;
  int64_t per_row, pitch, band;
  std::vector<Mask> mask;      // [row of the band][pitch]
  std::vector<float> x, fill;  // planar [channel][row of the band][x], interleaved [row][x][channel]
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
