#include "cpu/calibration.hpp"

#include <algorithm>
#include <limits>
#include <mutex>
#include <type_traits>

#include "core/errors.hpp"
#include "cpu/matrix.hpp"

namespace vltr::cpu {
namespace {

constexpr std::int64_t kTile = 1024;    // rows; the packed words below hold the sums of up to 4095
constexpr std::int64_t kStrip = 128;    // classes of an item, whose words stay in the L1 cache
constexpr std::int64_t kRowBlock = 16;  // rows of class-major scores that are turned at a time

// 4096 <= 4096 + p <= 4097, where doubles are 2^-40 apart: their bits are those of 4096 plus p * 2^40, rounded.
constexpr double kShift = 4096.0;
constexpr std::uint64_t kShiftBits = 0x40B0000000000000u;
constexpr int kCountBit = 52;  // of a packed word: the number of cells above it, the sum of their scores below it

std::uint64_t fixed_point(double p) { return bit_cast<std::uint64_t>(p + kShift) - kShiftBits; }

template <class T>
double to_probability(T element) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<double>(element);
  } else {
    return static_cast<double>(to_lane(element));
  }
}

std::int32_t bin_of(double p, double bins) {
  const double scaled = p * bins;
  const auto bin = static_cast<std::int32_t>(scaled);
  const std::int32_t lower = bin - (static_cast<double>(bin) == scaled ? 1 : 0);
  return lower < 0 ? 0 : lower;
}

struct Worker {
  Array<std::uint64_t> words;    // (strip, bins), packed
  Array<std::uint64_t> squares;  // (strip,)
  Array<std::int64_t> sums;      // as the result
};

constexpr std::uint64_t kLowPart = 0xFFFFFFFFu;

void add_sum(std::uint64_t sum, std::int64_t* high, std::int64_t* low) {
  *high += static_cast<std::int64_t>(sum >> 32);
  *low += static_cast<std::int64_t>(sum & kLowPart);
}

// Adds a row of a strip; load(j) is the score of its class j. Returns false if a score is outside [0, 1]; the sums are
// then of no use.
template <class Load>
bool add_row(const Load& load, std::int64_t classes, std::int64_t bins, Worker& worker) {
  std::uint64_t word[kStrip];
  std::int32_t bin[kStrip];
  const auto width = static_cast<double>(bins);
  std::uint64_t* const squares = worker.squares.data();
  std::int32_t bad = 0;
  for (std::int64_t j = 0; j < classes; ++j) {
    const double loaded = load(j);
    const bool valid = loaded >= 0.0 && loaded <= 1.0;
    const double p = valid ? loaded : 0.0;  // so that the conversion to an integer below is defined
    bad |= valid ? 0 : 1;
    word[j] = bit_cast<std::uint64_t>(p + kShift) + ((std::uint64_t{1} << kCountBit) - kShiftBits);
    squares[j] += fixed_point(p * p);
    bin[j] = bin_of(p, width);
  }
  if (bad != 0) return false;
  std::uint64_t* words = worker.words.data();
  for (std::int64_t j = 0; j < classes; ++j, words += bins) words[bin[j]] += word[j];
  return true;
}

template <class T>
class Counter {
 public:
  Counter(const Matrix& scores, std::int64_t bins, int threads)
      : scores_(scores), bins_(bins), columns_(calibration_columns(bins)), workers_(threads) {}

  // Adds a tile of a strip. Returns false at a score outside [0, 1].
  bool add(const Tile& tile, std::int64_t first_col, int id) {
    Worker& worker = workers_[id];
    const std::int64_t classes = std::min(kStrip, scores_.cols - first_col);
    if (worker.sums.empty()) {
      worker.words.assign(kStrip * bins_, 0);
      worker.squares.assign(kStrip, 0);
      worker.sums.assign(scores_.cols * columns_, 0);
    }
    if (!add_rows(tile, first_col, classes, worker)) return false;
    for (std::int64_t j = 0; j < classes; ++j) {
      std::int64_t* const out = worker.sums.data() + (first_col + j) * columns_;
      std::uint64_t* const words = worker.words.data() + j * bins_;
      for (std::int64_t bin = 0; bin < bins_; ++bin) {
        out[bin] += static_cast<std::int64_t>(words[bin] >> kCountBit);
        add_sum(words[bin] & ((std::uint64_t{1} << kCountBit) - 1), out + bins_ + bin, out + 2 * bins_ + bin);
        words[bin] = 0;
      }
      add_sum(worker.squares[j], out + 4 * bins_, out + 4 * bins_ + 1);
      worker.squares[j] = 0;
    }
    return true;
  }

  Array<std::int64_t> total() const {
    Array<std::int64_t> sums(scores_.cols * columns_, 0);
    for (const Worker& worker : workers_) {
      for (std::int64_t i = 0; i < worker.sums.count(); ++i) sums[i] += worker.sums[i];
    }
    return sums;
  }

 private:
  bool add_rows(const Tile& tile, std::int64_t first_col, std::int64_t classes, Worker& worker) {
    const Shard& shard = *tile.shard;
    const std::byte* row = shard.at(tile.first_row, first_col);
    if (shard.col_stride == static_cast<std::int64_t>(sizeof(T))) {
      for (std::int64_t r = 0; r < tile.rows; ++r, row += shard.row_stride) {
        const auto load = [row](std::int64_t j) {
          return to_probability(load_element<T>(row + j * static_cast<std::int64_t>(sizeof(T))));
        };
        if (!add_row(load, classes, bins_, worker)) return false;
      }
      return true;
    }
    double turned[kRowBlock][kStrip];
    for (std::int64_t first = 0; first < tile.rows; first += kRowBlock) {
      const std::int64_t rows = std::min(kRowBlock, tile.rows - first);
      for (std::int64_t j = 0; j < classes; ++j) {
        const std::byte* cell = row + first * shard.row_stride + j * shard.col_stride;
        for (std::int64_t r = 0; r < rows; ++r, cell += shard.row_stride) {
          turned[r][j] = to_probability(load_element<T>(cell));
        }
      }
      for (std::int64_t r = 0; r < rows; ++r) {
        const double* const values = turned[r];
        if (!add_row([values](std::int64_t j) { return values[j]; }, classes, bins_, worker)) return false;
      }
    }
    return true;
  }

  const Matrix& scores_;
  const std::int64_t bins_;
  const std::int64_t columns_;
  Array<Worker> workers_;
};

// The positives of each bin, and the sum of the scores of positives.
template <class T>
void add_positives(const Matrix& scores, const Positives& positives, std::int64_t bins, Array<std::int64_t>& sums,
                   const Runner& runner) {
  const std::int64_t step = items_per_step(scores.cols, 16, runner.threads);
  runner.run((scores.cols + step - 1) / step, [&](std::int64_t item, int) {
    for (std::int64_t c = item * step; c < std::min(scores.cols, (item + 1) * step); ++c) {
      std::int64_t* const out = sums.data() + c * calibration_columns(bins);
      for (const std::uint32_t row : positives.rows_of(c)) {
        const double p = to_probability(load_element<T>(scores.shard_of(row).at(row, c)));
        if (!(p >= 0.0 && p <= 1.0)) throw ScoresChanged();
        ++out[3 * bins + bin_of(p, static_cast<double>(bins))];
        add_sum(fixed_point(p), out + 4 * bins + 2, out + 4 * bins + 3);
      }
    }
  });
}

template <class T>
[[noreturn]] void throw_bad_value(const Matrix& scores, std::int64_t first_row, std::int64_t end_row) {
  for (std::int64_t row = first_row; row < end_row; ++row) {
    for (std::int64_t c = 0; c < scores.cols; ++c) {
      const double p = to_probability(load_element<T>(scores.shard_of(row).at(row, c)));
      if (!(p >= 0.0 && p <= 1.0)) throw BadValue("scores", row, c);
    }
  }
  throw ScoresChanged();
}

template <class T>
Array<std::int64_t> calibration_sums_as(const Matrix& scores, const Positives& positives, std::int64_t bins,
                                        const Runner& runner) {
  const Array<Tile> tiles = row_tiles(scores, kTile);
  const std::int64_t strips = (scores.cols + kStrip - 1) / kStrip;
  Counter<T> counter(scores, bins, std::max(runner.threads, 1));
  std::mutex guard;
  std::int64_t first_bad = tiles.count();  // the first tile with a bad score among those that were read
  const Phases phases(runner, {1.0 * static_cast<double>(scores.rows) * static_cast<double>(scores.cols),
                               5.0 * static_cast<double>(positives.rows.count())});
  phases.phase(0).run(tiles.count() * strips, [&](std::int64_t item, int id) {
    const std::int64_t tile = item / strips;
    if (counter.add(tiles[tile], item % strips * kStrip, id)) return;
    const std::lock_guard<std::mutex> lock(guard);
    first_bad = std::min(first_bad, tile);
  });
  if (first_bad < tiles.count()) {
    const Tile& tile = tiles[first_bad];
    throw_bad_value<T>(scores, tile.first_row, tile.first_row + tile.rows);
  }
  Array<std::int64_t> sums = counter.total();
  add_positives<T>(scores, positives, bins, sums, phases.phase(1));
  return sums;
}

}  // namespace

Array<std::int64_t> calibration_sums(const Matrix& scores, const Positives& positives, std::int64_t bins,
                                     const Runner& runner) {
  return with_element_type(scores.dtype, [&](auto tag) {
    return calibration_sums_as<typename decltype(tag)::type>(scores, positives, bins, runner);
  });
}

}  // namespace vltr::cpu
