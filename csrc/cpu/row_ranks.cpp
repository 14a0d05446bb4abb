#include "cpu/row_ranks.hpp"

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <type_traits>

#include "cpu/known_rows.hpp"

namespace vltr::cpu {
namespace {

constexpr std::int64_t kRowsPerItem = 64;

// The lane of an element. A NaN ranks last, because sorts of NaN are undefined; callers have refused them before.
template <class T>
LaneOf<T> ordered_lane(T element) {
  const LaneOf<T> lane = to_lane(element);
  if constexpr (std::is_floating_point_v<LaneOf<T>>) {
    return lane == lane ? lane : -std::numeric_limits<LaneOf<T>>::infinity();
  }
  return lane;
}

// The known cells of one row after another, as lanes.
template <class T>
class RowReader {
 public:
  using Lane = LaneOf<T>;

  void resize(std::int64_t cols) {
    lanes.resize(cols);
    classes.resize(cols);
  }

  // Begins an item of rows of one shard.
  void begin(const Matrix& scores, std::int64_t first_row, std::int64_t rows) {
    shard_ = &scores.shard_of(first_row);
    first_row_ = first_row;
    cols_ = scores.cols;
    known_ = KnownRows(scores).of(first_row, rows, 0, scores.cols, masks_);
  }

  void read(std::int64_t row) {
    const std::byte* const data = shard_->at(row, 0);
    const std::int64_t stride = shard_->col_stride;
    if (known_ == nullptr) {
      count = cols_;
      if (stride == static_cast<std::int64_t>(sizeof(T))) {
        for (std::int64_t c = 0; c < cols_; ++c) {
          lanes[c] = ordered_lane(load_element<T>(data + c * static_cast<std::int64_t>(sizeof(T))));
        }
      } else {
        for (std::int64_t c = 0; c < cols_; ++c) lanes[c] = ordered_lane(load_element<T>(data + c * stride));
      }
      return;
    }
    count = 0;
    for (std::int64_t c = 0; c < cols_; ++c) {
      lanes[count] = ordered_lane(load_element<T>(data + c * stride));
      classes[count] = static_cast<std::uint32_t>(c);
      count += known_[c].has(row - first_row_);
    }
  }
  // The score of a cell of the row that was read last, known or not.
  Lane at(std::int64_t row, std::int64_t c) const { return ordered_lane(load_element<T>(shard_->at(row, c))); }
  std::int64_t class_of(std::int64_t i) const { return known_ == nullptr ? i : classes[i]; }

  Array<Lane> lanes;
  Array<std::uint32_t> classes;
  std::int64_t count = 0;

 private:
  const Shard* shard_ = nullptr;
  const RowMask* known_ = nullptr;
  Array<RowMask> masks_;
  std::int64_t first_row_ = 0;
  std::int64_t cols_ = 0;
};

template <class T>
struct RankWorker {
  RowReader<T> reader;
  Array<LaneOf<T>> positive;
  Array<LaneOf<T>> sorted;
};

// The number of lanes that reach a bound.
template <class Lane>
std::int64_t count_reaching(const Lane* lanes, std::int64_t count, Lane bound) {
  std::uint32_t reaching = 0;
  for (std::int64_t i = 0; i < count; ++i) reaching += lanes[i] >= bound ? 1u : 0u;
  return reaching;
}
template <class Lane>
std::int64_t count_reaching(const Array<Lane>& ascending, Lane bound) {
  return ascending.end() - std::lower_bound(ascending.begin(), ascending.end(), bound);
}

template <class T>
void count_row(const Positives& positives, const LaneOf<T>* bounds, std::int64_t row, RankWorker<T>& worker,
               std::uint32_t* out) {
  constexpr std::int64_t kFew = 16;  // positives of a row for which comparisons are faster than a sort
  const auto classes = positives.rows_of(row);
  if (classes.size() == 0) return;
  RowReader<T>& reader = worker.reader;
  reader.read(row);
  worker.positive.resize(classes.size());
  for (std::int64_t i = 0; i < classes.size(); ++i) worker.positive[i] = reader.at(row, classes[i]);
  const bool few = classes.size() <= kFew;
  if (!few) {
    worker.sorted.assign(reader.lanes.begin(), reader.lanes.begin() + reader.count);
    std::sort(worker.sorted.begin(), worker.sorted.end());
    std::sort(worker.positive.begin(), worker.positive.end());
  }
  for (std::int64_t i = positives.offset.first(row); i < positives.offset[row + 1]; ++i) {
    out[i] = static_cast<std::uint32_t>(
        few ? count_reaching(reader.lanes.data(), reader.count, bounds[i]) -
                  count_reaching(worker.positive.data(), worker.positive.count(), bounds[i])
            : count_reaching(worker.sorted, bounds[i]) - count_reaching(worker.positive, bounds[i]));
  }
}

// Calls function(row, worker) for each row, in items of one shard.
template <class Worker, class Function>
void for_each_row(const Matrix& scores, Array<Worker>& workers, const Runner& runner, const Function& function) {
  const Array<Tile> tiles = row_tiles(scores, kRowsPerItem);
  runner.run(tiles.count(), [&](std::int64_t item, int id) {
    const Tile& tile = tiles[item];
    Worker& worker = workers[id];
    worker.reader.resize(scores.cols);
    worker.reader.begin(scores, tile.first_row, tile.rows);
    for (std::int64_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) function(row, worker);
  });
}

template <class T>
struct TopWorker {
  RowReader<T> reader;
  Array<LaneOf<T>> scratch;
  Array<std::int64_t> candidates;
  Array<std::uint8_t> hits;  // of each class, for the row
};

// The k-th highest of `count` lanes, 0 < k <= count. Overwrites them.
template <class Lane>
Lane kth_highest(Lane* lanes, std::int64_t count, std::int64_t k) {
  std::nth_element(lanes, lanes + k - 1, lanes + count, std::greater<Lane>());
  return lanes[k - 1];
}

// A number that at least k of the lanes reach: the k-th highest of the maxima of blocks. More than k lanes may reach
// it.
template <class Lane>
Lane lower_bound_of_kth(const Lane* lanes, std::int64_t count, std::int64_t k, Array<Lane>& scratch) {
  constexpr std::int64_t kBlock = 8;
  const std::int64_t blocks = count / kBlock;
  if (blocks < k) return *std::min_element(lanes, lanes + count);
  scratch.resize(blocks);
  std::copy(lanes, lanes + blocks, scratch.begin());
  for (std::int64_t j = 1; j < kBlock;
       ++j) {  // lanes of a block are apart, so that maxima of several are found at once
    const Lane* const next = lanes + j * blocks;
    for (std::int64_t i = 0; i < blocks; ++i) scratch[i] = std::max(scratch[i], next[i]);
  }
  return kth_highest(scratch.data(), blocks, k);
}

// Returns true if the preference has decided.
template <class T>
bool select_row(const Positives& positives, std::int64_t row, std::int64_t k, Preference preference,
                TopWorker<T>& worker, std::int32_t* cls, LaneOf<T>* score, std::uint8_t* hit) {
  using Lane = LaneOf<T>;
  RowReader<T>& reader = worker.reader;
  reader.read(row);
  std::fill(cls, cls + k, -1);
  std::fill(score, score + k, Lane{0});
  std::fill(hit, hit + k, std::uint8_t{0});
  const Lane* const lanes = reader.lanes.data();
  const std::int64_t taken = std::min(k, reader.count);
  if (taken == 0) return false;
  const auto classes = positives.rows_of(row);
  worker.hits.resize(reader.lanes.count());
  for (const std::uint32_t c : classes) worker.hits[c] = 1;
  const auto is_hit = [&](std::int64_t i) { return worker.hits[reader.class_of(i)] != 0; };

  // The cells that may be among the k, by class.
  const Lane bound = lower_bound_of_kth(lanes, reader.count, taken, worker.scratch);
  worker.candidates.resize(reader.lanes.count() + 1);
  std::int64_t* const candidate = worker.candidates.data();
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < reader.count; ++i) {
    candidate[count] = i;
    count += lanes[i] >= bound ? 1 : 0;
  }
  worker.scratch.resize(count);
  for (std::int64_t i = 0; i < count; ++i) worker.scratch[i] = lanes[candidate[i]];
  const Lane lowest = kth_highest(worker.scratch.data(), count, taken);

  // The places for scores that equal the lowest, of negatives and of positives, and those to pass over before.
  std::int64_t places = taken;
  std::int64_t equal[2] = {0, 0};
  for (std::int64_t i = 0; i < count; ++i) {
    places -= lanes[candidate[i]] > lowest ? 1 : 0;
    if (lanes[candidate[i]] == lowest) ++equal[is_hit(candidate[i]) ? 1 : 0];
  }
  const bool is_open = equal[0] + equal[1] > places;
  std::int64_t passed = 0;
  std::int64_t most[2] = {places, places};
  if (preference == Preference::kHighClass) {
    passed = equal[0] + equal[1] - places;
  } else if (preference != Preference::kLowClass) {
    const int first = preference == Preference::kPositive ? 1 : 0;
    most[first] = std::min(places, equal[first]);
    most[1 - first] = places - most[first];
  }
  std::int64_t to = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const Lane lane = lanes[candidate[i]];
    if (lane < lowest) continue;
    const bool of_hit = is_hit(candidate[i]);
    if (lane == lowest) {
      if (passed > 0) {
        --passed;
        continue;
      }
      if (places == 0 || most[of_hit ? 1 : 0] == 0) continue;
      --places;
      --most[of_hit ? 1 : 0];
    }
    cls[to] = static_cast<std::int32_t>(reader.class_of(candidate[i]));
    score[to] = lane;
    hit[to++] = of_hit ? 1 : 0;
  }
  for (const std::uint32_t c : classes) worker.hits[c] = 0;
  return is_open;
}

}  // namespace

Array<std::uint32_t> count_in_rows(const Matrix& scores, const Positives& positives, const LaneColumn& bounds,
                                   const Runner& runner) {
  Array<std::uint32_t> out(positives.rows.count());
  with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const LaneOf<T>* const of_positives = std::get<TableColumn<LaneOf<T>>>(bounds).data();
    Array<RankWorker<T>> workers(std::max(runner.threads, 1));
    for_each_row(scores, workers, runner, [&](std::int64_t row, RankWorker<T>& worker) {
      count_row(positives, of_positives, row, worker, out.data());
    });
  });
  return out;
}

TopCells top_of_rows(const Matrix& scores, const Positives& positives, std::int64_t k, Preference preference,
                     const Runner& runner) {
  TopCells out;
  out.cls.resize(scores.rows * k);
  out.hit.resize(scores.rows * k);
  with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    TableColumn<LaneOf<T>> found(scores.rows * k);
    Array<TopWorker<T>> workers(std::max(runner.threads, 1));
    std::atomic<std::int64_t> open{0};
    for_each_row(scores, workers, runner, [&](std::int64_t row, TopWorker<T>& worker) {
      open += select_row(positives, row, k, preference, worker, out.cls.data() + row * k, found.data() + row * k,
                         out.hit.data() + row * k);
    });
    out.score = std::move(found);
    out.open = open;
  });
  return out;
}

}  // namespace vltr::cpu
