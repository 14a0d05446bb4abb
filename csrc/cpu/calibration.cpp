#include "cpu/calibration.hpp"

#include <algorithm>
#include <mutex>

#include "core/errors.hpp"
#include "cpu/calibration_rows.hpp"
#include "cpu/known_rows.hpp"
#include "cpu/matrix.hpp"

namespace vltr::cpu {
namespace {

struct Worker {
  Array<std::uint64_t> words;    // (strip, bins), packed
  Array<std::uint64_t> squares;  // (strip,)
  Array<std::int64_t> sums;      // as the result
  Array<RowMask> known;
  Array<std::uint8_t> known_cells;  // (rows, strip), see calibration_rows.hpp
};

constexpr std::uint64_t kLowPart = 0xFFFFFFFFu;

void add_sum(std::uint64_t sum, std::int64_t* high, std::int64_t* low) {
  *high += static_cast<std::int64_t>(sum >> 32);
  *low += static_cast<std::int64_t>(sum & kLowPart);
}

template <class T>
class Counter {
 public:
  Counter(const Matrix& scores, std::int64_t bins, int threads)
      : scores_(scores), known_(scores), bins_(bins), columns_(calibration_columns(bins)), workers_(threads) {}

  // Adds a tile of a strip. Returns false at a score outside [0, 1].
  bool add(const Tile& tile, std::int64_t first_col, int id) {
    Worker& worker = workers_[id];
    const std::int64_t classes = std::min(kCalibrationStrip, scores_.cols - first_col);
    if (worker.sums.empty()) {
      worker.words.assign(kCalibrationStrip * bins_, 0);
      worker.squares.assign(kCalibrationStrip, 0);
      worker.sums.assign(scores_.cols * columns_, 0);
    }
    const RowMask* const known = known_.of(tile, first_col, first_col + classes, worker.known);
    const std::uint8_t* const cells =
        known == nullptr ? nullptr : to_cells(known, tile.rows, classes, worker.known_cells);
    if (!sum_probabilities_(*tile.shard, tile.first_row, tile.rows, first_col, classes, bins_, cells,
                            worker.words.data(), worker.squares.data())) {
      return false;
    }
    for (std::int64_t j = 0; j < classes; ++j) {
      std::int64_t* const out = worker.sums.data() + (first_col + j) * columns_;
      std::uint64_t* const words = worker.words.data() + j * bins_;
      for (std::int64_t bin = 0; bin < bins_; ++bin) {
        out[bin] += static_cast<std::int64_t>(words[bin] >> kCalibrationCountBit);
        add_sum(words[bin] & ((std::uint64_t{1} << kCalibrationCountBit) - 1), out + bins_ + bin,
                out + 2 * bins_ + bin);
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
  // The masks of classes as a byte for each cell, row by row.
  static const std::uint8_t* to_cells(const RowMask* known, std::int64_t rows, std::int64_t classes,
                                      Array<std::uint8_t>& cells) {
    if (cells.empty()) cells.resize(kCalibrationRows * kCalibrationStrip);
    for (std::int64_t first = 0; first < rows; first += 16) {
      std::uint16_t block[kCalibrationStrip] = {};
      for (std::int64_t j = 0; j < classes; ++j) block[j] = known[j].block[first / 16];
      for (std::int64_t r = 0; r < std::min<std::int64_t>(16, rows - first); ++r) {
        std::uint8_t* const row = cells.data() + (first + r) * kCalibrationStrip;
        for (std::int64_t j = 0; j < kCalibrationStrip; ++j) row[j] = static_cast<std::uint8_t>(-(block[j] >> r & 1));
      }
    }
    return cells.data();
  }

  const Matrix& scores_;
  const KnownRows known_;
  const std::int64_t bins_;
  const std::int64_t columns_;
  Array<Worker> workers_;
  const SumProbabilities<T> sum_probabilities_ = sum_probabilities_kernel<T>();
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
        if (!is_probability(p)) throw ScoresChanged();
        ++out[3 * bins + calibration_bin(p, static_cast<double>(bins))];
        add_sum(to_fixed_point(p), out + 4 * bins + 2, out + 4 * bins + 3);
      }
    }
  });
}

template <class T>
[[noreturn]] void throw_bad_value(const Matrix& scores, std::int64_t first_row, std::int64_t end_row) {
  for (std::int64_t row = first_row; row < end_row; ++row) {
    for (std::int64_t c = 0; c < scores.cols; ++c) {
      const double p = to_probability(load_element<T>(scores.shard_of(row).at(row, c)));
      if (!is_probability(p)) throw BadValue("scores", row, c);
    }
  }
  throw ScoresChanged();
}

template <class T>
Array<std::int64_t> calibration_sums_as(const Matrix& scores, const Positives& positives, std::int64_t bins,
                                        const Runner& runner) {
  const Array<Tile> tiles = row_tiles(scores, kCalibrationRows);
  const std::int64_t strips = (scores.cols + kCalibrationStrip - 1) / kCalibrationStrip;
  Counter<T> counter(scores, bins, std::max(runner.threads, 1));
  std::mutex guard;
  std::int64_t first_bad = tiles.count();  // the first tile with a bad score among those that were read
  const Phases phases(runner, {1.0 * static_cast<double>(scores.rows) * static_cast<double>(scores.cols),
                               5.0 * static_cast<double>(positives.rows.count())});
  phases.phase(0).run(tiles.count() * strips, [&](std::int64_t item, int id) {
    const std::int64_t tile = item / strips;
    if (counter.add(tiles[tile], item % strips * kCalibrationStrip, id)) return;
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
