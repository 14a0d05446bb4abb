#include "cpu/ranked_lists.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>

#include "core/errors.hpp"

namespace vltr::cpu {
namespace {

constexpr std::int64_t kRowsPerItem = 1024;
constexpr double kLowest = -std::numeric_limits<double>::infinity();

std::int64_t items_of(std::int64_t count, std::int64_t each) { return (count + each - 1) / each; }

// The error of the first row that has one, whatever thread finds it.
class FirstError {
 public:
  void add(const char* kind, std::int64_t row, std::int64_t col) {
    const std::lock_guard<std::mutex> lock(guard_);
    if (kind_ == nullptr || row < row_) {
      kind_ = kind;
      row_ = row;
      col_ = col;
    }
  }
  void raise() const {
    if (kind_ != nullptr) throw BadValue(kind_, row_, col_);
  }

 private:
  std::mutex guard_;
  const char* kind_ = nullptr;
  std::int64_t row_ = 0;
  std::int64_t col_ = 0;
};

// Finds classes out of range and repeated classes. One bit for each class, all zero between two rows.
class ClassCheck {
 public:
  explicit ClassCheck(std::int64_t num_classes) : bits_((num_classes + 63) / 64, 0), num_classes_(num_classes) {}

  // False after an error, which it adds.
  bool check(const std::int32_t* classes, std::int64_t count, std::int64_t row, FirstError& error) {
    bool ascending = true;
    for (std::int64_t i = 0; i < count; ++i) {
      if (classes[i] < 0 || classes[i] >= num_classes_) {
        error.add("range", row, classes[i]);
        return false;
      }
      ascending = ascending && (i == 0 || classes[i - 1] < classes[i]);
    }
    if (ascending) return true;
    std::int64_t marked = 0;
    for (; marked < count; ++marked) {
      std::uint64_t& word = bits_[classes[marked] / 64];
      const std::uint64_t bit = std::uint64_t{1} << (classes[marked] % 64);
      if ((word & bit) != 0) break;
      word |= bit;
    }
    for (std::int64_t i = 0; i < marked; ++i) bits_[classes[i] / 64] = 0;
    if (marked < count) error.add("twice", row, classes[marked]);
    return marked == count;
  }

 private:
  Array<std::uint64_t> bits_;
  std::int64_t num_classes_;
};

template <class Score>
struct Listed {
  Score score;
  std::int32_t cls;
  bool operator<(const Listed& other) const { return score > other.score || (score == other.score && cls < other.cls); }
};

template <class Score>
bool is_sorted_list(const std::int32_t* classes, const Score* scores, std::int64_t count) {
  for (std::int64_t i = 1; i < count; ++i) {
    if (!(scores[i - 1] > scores[i] || (scores[i - 1] == scores[i] && classes[i - 1] < classes[i]))) return false;
  }
  return true;
}

template <class Score>
void sort_list(std::int32_t* classes, Score* scores, std::int64_t count, Array<Listed<Score>>& scratch) {
  if (is_sorted_list(classes, scores, count)) return;
  scratch.resize(count);
  for (std::int64_t i = 0; i < count; ++i) scratch[i] = {scores[i], classes[i]};
  std::sort(scratch.begin(), scratch.end());
  for (std::int64_t i = 0; i < count; ++i) {
    scores[i] = scratch[i].score;
    classes[i] = scratch[i].cls;
  }
}

}  // namespace

template <class Score>
void sort_lists(OffsetSpan lists, std::int64_t num_classes, std::int32_t* classes, Score* scores, double* lowest,
                const Runner& runner) {
  FirstError error;
  Array<ClassCheck> checks(std::max(runner.threads, 1), ClassCheck(num_classes));
  Array<Array<Listed<Score>>> scratch(std::max(runner.threads, 1));
  runner.run(items_of(lists.lists(), kRowsPerItem), [&](std::int64_t item, int worker) {
    const std::int64_t end = std::min(lists.lists(), (item + 1) * kRowsPerItem);
    for (std::int64_t row = item * kRowsPerItem; row < end; ++row) {
      const std::int64_t first = lists.first(row), count = lists.length(row);
      if (!checks[worker].check(classes + first, count, row, error)) return;
      if (scores == nullptr) continue;
      for (std::int64_t i = 0; i < count; ++i) {
        if (scores[first + i] != scores[first + i]) {
          error.add("nan", row, classes[first + i]);
          return;
        }
      }
      sort_list(classes + first, scores + first, count, scratch[worker]);
      lowest[row] = count > 0 ? static_cast<double>(scores[first + count - 1]) : -kLowest;
    }
  });
  error.raise();
}

void mark_listed(OffsetSpan lists, const std::int32_t* classes, OffsetSpan other_lists, const std::int32_t* others,
                 std::uint8_t* marks, const Runner& runner) {
  runner.run(items_of(lists.lists(), kRowsPerItem), [&](std::int64_t item, int) {
    const std::int64_t end = std::min(lists.lists(), (item + 1) * kRowsPerItem);
    for (std::int64_t row = item * kRowsPerItem; row < end; ++row) {
      const std::int32_t* const low = others + other_lists.first(row);
      const std::int32_t* const high = low + other_lists.length(row);
      for (std::int64_t i = lists.first(row); i < lists.first(row + 1); ++i) {
        marks[i] = std::binary_search(low, high, classes[i]) ? 1 : 0;
      }
    }
  });
}

template <class Score>
double pooled_precision(OffsetSpan lists, const Score* scores, const std::uint8_t* hits, std::int64_t depth,
                        const Runner& runner) {
  const std::int64_t items = items_of(lists.lists(), kRowsPerItem);
  const auto for_each_pair = [&](std::int64_t item, auto&& function) {
    const std::int64_t end = std::min(lists.lists(), (item + 1) * kRowsPerItem);
    for (std::int64_t row = item * kRowsPerItem; row < end; ++row) {
      const std::int64_t first = lists.first(row), last = first + std::min(depth, lists.length(row));
      for (std::int64_t i = first; i < last; ++i) function(i);
    }
  };
  // The scores of the hits are the thresholds; each pair is then counted at the first threshold that it reaches.
  Array<Score> found;
  Runner alone = runner.share(0.0, 0.2);
  alone.threads = 1;
  alone.run(items, [&](std::int64_t item, int) {
    for_each_pair(item, [&](std::int64_t i) {
      if (hits[i] != 0) found.push_back(scores[i]);
    });
  });
  std::sort(found.begin(), found.end());
  Array<Score> thresholds;
  std::unique_copy(found.begin(), found.end(), std::back_inserter(thresholds));
  const std::int64_t count = thresholds.count();
  const int workers = std::max(runner.threads, 1);
  Array<Array<std::int64_t>> pairs(workers, Array<std::int64_t>(count, 0));
  runner.share(0.2, 1.0).run(items, [&](std::int64_t item, int worker) {
    for_each_pair(item, [&](std::int64_t i) {
      // The highest threshold that is at most the score.
      const std::int64_t at = std::upper_bound(thresholds.begin(), thresholds.end(), scores[i]) - thresholds.begin();
      if (at > 0) ++pairs[worker][at - 1];
    });
  });
  double sum = 0.0;
  std::int64_t reached = 0, hits_reached = 0, end = found.count();
  for (std::int64_t t = count - 1; t >= 0; --t) {
    for (int worker = 0; worker < workers; ++worker) reached += pairs[worker][t];
    std::int64_t first = end;
    while (first > 0 && found[first - 1] == thresholds[t]) --first;
    const std::int64_t hits_here = end - first;
    end = first;
    hits_reached += hits_here;
    sum += static_cast<double>(hits_here) * (static_cast<double>(hits_reached) / static_cast<double>(reached));
  }
  return sum;
}

namespace {

struct Cell {
  double score;
  std::uint32_t row;
  std::uint32_t hit;
};

// A point of the search for the lowest precision: positives and negatives above it.
struct Point {
  std::int64_t positives;
  std::int64_t negatives;
};

struct Scratch {
  Array<double> excluded;  // limits of the rows whose cells are listed, hidden or unknown, ascending
  Array<double> hidden;    // limits of the hidden positives, ascending
  Array<Point> hull;
  Array<double> values;  // of the events of the highest AP
  Array<double> best;
  Array<std::int64_t> lowest_best, hits, hidden_hits;
};

// Numbers in ascending order: how many are at least, or above, a value.
template <class Values>
std::int64_t at_least(const Values& sorted, double value) {
  return sorted.end() - std::lower_bound(sorted.begin(), sorted.end(), value);
}
template <class Values>
std::int64_t above(const Values& sorted, double value) {
  return sorted.end() - std::upper_bound(sorted.begin(), sorted.end(), value);
}

double share_of(std::int64_t part, std::int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

// One class. Cells are sorted by descending score.
class OneClass {
 public:
  OneClass(Span<Cell> cells, Span<const std::uint32_t> hidden_rows, Span<const std::uint32_t> unknown_rows,
           Span<const double> limits, const Array<double>& sorted_limits, Scratch& scratch)
      : cells_(cells), all_(sorted_limits), s_(scratch) {
    std::sort(cells.begin(), cells.end(), [](const Cell& a, const Cell& b) { return a.score > b.score; });
    s_.excluded.clear();
    s_.hidden.clear();
    for (const Cell& cell : cells) {
      listed_positives_ += cell.hit;
      s_.excluded.push_back(limits[cell.row]);
    }
    for (const std::uint32_t row : hidden_rows) s_.hidden.push_back(limits[row]);
    s_.excluded.insert(s_.excluded.end(), s_.hidden.begin(), s_.hidden.end());
    for (const std::uint32_t row : unknown_rows) s_.excluded.push_back(limits[row]);
    std::sort(s_.excluded.begin(), s_.excluded.end());
    std::sort(s_.hidden.begin(), s_.hidden.end());
    rows_ = limits.size() - unknown_rows.size();
    positives_ = listed_positives_ + s_.hidden.count();
    negatives_ = rows_ - positives_;
  }

  void write(ClassBounds& bounds, std::int64_t c) {
    const double undefined = std::numeric_limits<double>::quiet_NaN();
    bounds.ap_low[c] = bounds.ap_high[c] = bounds.auc_low[c] = bounds.auc_high[c] = undefined;
    if (positives_ == 0) return;
    bounds.ap_low[c] = lowest_ap(bounds.ap_low_attained[c]);
    bounds.ap_high[c] = highest_ap(bounds.ap_high_attained[c]);
    if (negatives_ == 0) return;
    const double pairs = 2.0 * static_cast<double>(positives_) * static_cast<double>(negatives_);
    bounds.auc_low[c] = static_cast<double>(lowest_wins()) / pairs;
    bounds.auc_high[c] = static_cast<double>(highest_wins()) / pairs;
  }

 private:
  double base_rate() const { return share_of(positives_, rows_); }

  // Unlisted negatives with their highest possible scores.
  std::int64_t unlisted_at_least(double value) const { return at_least(all_, value) - at_least(s_.excluded, value); }
  std::int64_t unlisted_above(double value) const { return above(all_, value) - above(s_.excluded, value); }

  // Calls function(value, positives, negatives) for each distinct score of the listed cells, descending; positives and
  // negatives are those at least as high.
  template <class Function>
  void for_each_score(Function&& function) const {
    std::int64_t hits = 0;
    for (std::int64_t i = 0; i < cells_.size();) {
      const double value = cells_[i].score;
      std::int64_t here = 0;
      for (; i < cells_.size() && cells_[i].score == value; ++i) here += cells_[i].hit;
      hits += here;
      function(value, here, hits, i - hits);
    }
  }

  // Unlisted negatives are as high as possible. Each hidden positive has the lowest precision of any place below the
  // highest limit of them.
  double lowest_ap(std::uint8_t& attained) {
    double sum = 0.0;
    const std::int64_t hidden = s_.hidden.count();
    const double highest = hidden > 0 ? s_.hidden[hidden - 1] : kLowest;
    s_.hull.clear();
    std::int64_t hits_before = 0, negatives_before = 0;
    for_each_score([&](double value, std::int64_t here, std::int64_t hits, std::int64_t negatives) {
      if (here > 0) {
        const std::int64_t reached = hits + negatives + unlisted_at_least(value);
        sum += static_cast<double>(here) * (value == kLowest ? base_rate() : share_of(hits, reached));
        if (value > kLowest && value < highest) {
          add_point({hits_before, negatives_before + unlisted_above(value)});
        }
      }
      if (value > kLowest) {
        hits_before = hits;
        negatives_before = negatives;
      }
    });
    attained = 1;
    if (hidden == 0) return sum / static_cast<double>(positives_);
    // Below all others, but above -infinity.
    if (highest > kLowest) add_point({hits_before, negatives_before + unlisted_above(kLowest)});
    std::int64_t at = 0;
    for (std::int64_t j = 1; j <= hidden; ++j) {
      double precision = base_rate();
      if (s_.hidden[hidden - j] > kLowest) {
        while (at + 1 < s_.hull.count() && (s_.hull[at + 1].positives + j) * s_.hull[at].negatives <=
                                               (s_.hull[at].positives + j) * s_.hull[at + 1].negatives) {
          ++at;
        }
        const Point& point = s_.hull[at];
        const double found = share_of(point.positives + j, point.positives + j + point.negatives);
        if (at + 1 < s_.hull.count() || found > precision) attained = 0;
        precision = std::min(precision, found);
      }
      sum += precision;
    }
    return sum / static_cast<double>(positives_);
  }

  // Keeps the points from which the line to (-j, 0) is the steepest for some j: the upper hull, in rising order.
  void add_point(const Point& point) {
    const auto below = [&](const Point& a, const Point& b) {  // b is not above the line from a to the new point
      return (b.negatives - a.negatives) * (point.positives - b.positives) <=
             (point.negatives - b.negatives) * (b.positives - a.positives);
    };
    Array<Point>& hull = s_.hull;
    while (hull.count() > 0 && hull[hull.count() - 1].negatives <= point.negatives &&
           hull[hull.count() - 1].positives == point.positives) {
      hull.pop_back();
    }
    while (hull.count() > 1 && below(hull[hull.count() - 2], hull[hull.count() - 1])) hull.pop_back();
    hull.push_back(point);
  }

  // Unlisted negatives are below all others. Each hidden positive has the highest precision at or below its limit, of
  // those with all hidden positives at their limits.
  double highest_ap(std::uint8_t& attained) {
    const std::int64_t hidden = s_.hidden.count();
    s_.values.clear();
    s_.best.clear();
    s_.hits.clear();
    s_.hidden_hits.clear();
    std::int64_t next = hidden, placed = 0, listed_hits = 0, listed_negatives = 0;
    const auto add_event = [&](double value, std::int64_t here) {
      const std::int64_t before = placed;
      for (; next > 0 && s_.hidden[next - 1] >= value; --next) ++placed;
      const std::int64_t reached = listed_hits + placed;
      s_.values.push_back(value);
      s_.best.push_back(value == kLowest ? base_rate() : share_of(reached, reached + listed_negatives));
      s_.hits.push_back(here);
      s_.hidden_hits.push_back(placed - before);
    };
    for_each_score([&](double value, std::int64_t here, std::int64_t hits, std::int64_t negatives) {
      while (next > 0 && s_.hidden[next - 1] > value) add_event(s_.hidden[next - 1], 0);
      listed_hits = hits;
      listed_negatives = negatives;
      add_event(value, here);
    });
    while (next > 0) add_event(s_.hidden[next - 1], 0);
    double sum = 0.0;
    for (std::int64_t e = 0; e < s_.best.count(); ++e) sum += static_cast<double>(s_.hits[e]) * s_.best[e];
    // From the lowest event up: the best precision at or below each event, and how many listed hits lie above it.
    attained = 1;
    double best = 0.0;
    std::int64_t hits_above_best = 0;  // listed hits from this event down to the best one, which is left out
    for (std::int64_t e = s_.best.count() - 1; e >= 0; --e) {
      hits_above_best += s_.hits[e];
      if (s_.best[e] > best) {
        best = s_.best[e];
        hits_above_best = 0;
      }
      sum += static_cast<double>(s_.hidden_hits[e]) * best;
      if (s_.hidden_hits[e] > 0 && hits_above_best > 0) attained = 0;
    }
    return sum / static_cast<double>(positives_);
  }

  // Twice the pairs that the positives win, a tie being half a win: hidden positives are at -infinity.
  std::int64_t lowest_wins() const {
    std::int64_t wins = 0;
    std::int64_t negatives_before = 0;
    for_each_score([&](double value, std::int64_t here, std::int64_t, std::int64_t negatives) {
      if (here > 0) {
        const std::int64_t reached = negatives + unlisted_at_least(value);
        const std::int64_t higher = negatives_before + unlisted_above(value);
        wins += here * (2 * (negatives_ - reached) + (reached - higher));
      }
      negatives_before = negatives;
    });
    std::int64_t at_lowest = negatives_ - unlisted_above(kLowest);
    for (const Cell& cell : cells_) at_lowest -= cell.hit == 0 && cell.score > kLowest;
    return wins + s_.hidden.count() * at_lowest;
  }

  // The same with hidden positives at their limits, and unlisted negatives at -infinity.
  std::int64_t highest_wins() const {
    std::int64_t wins = 0, next = s_.hidden.count(), higher = 0;
    const auto add = [&](std::int64_t count, std::int64_t at_or_above, std::int64_t over) {
      wins += count * (2 * (negatives_ - at_or_above) + (at_or_above - over));
    };
    for_each_score([&](double value, std::int64_t here, std::int64_t, std::int64_t negatives) {
      for (; next > 0 && s_.hidden[next - 1] > value; --next) add(1, higher, higher);
      for (; next > 0 && s_.hidden[next - 1] == value; --next) ++here;
      add(here, value == kLowest ? negatives_ : negatives, higher);
      higher = negatives;
    });
    for (; next > 0; --next) add(1, s_.hidden[next - 1] == kLowest ? negatives_ : higher, higher);
    return wins;
  }

  Span<Cell> cells_;
  const Array<double>& all_;
  Scratch& s_;
  std::int64_t rows_ = 0;
  std::int64_t listed_positives_ = 0;
  std::int64_t positives_ = 0;
  std::int64_t negatives_ = 0;
};

}  // namespace

template <class Score>
ClassBounds class_bounds(OffsetSpan lists, const std::int32_t* classes, const Score* scores, const std::uint8_t* hits,
                         Span<const double> limits, const CellsOfClasses& hidden, const CellsOfClasses& unknown,
                         const Runner& runner) {
  const std::int64_t num_classes = hidden.classes.lists();
  const std::int64_t items = items_of(lists.lists(), kRowsPerItem);
  Runner alone = runner.share(0.0, 0.3);
  alone.threads = 1;
  // The cells of each class: counted, then put in place.
  Offsets offset(num_classes + 1, 0);
  for (std::int64_t i = 0; i < lists.back(); ++i) ++offset[classes[i] + 1];
  std::partial_sum(offset.begin(), offset.end(), offset.begin());
  LargeArray<Cell> cells;
  cells.resize(lists.back());
  Array<std::int64_t> next(offset.begin(), offset.end() - 1);
  alone.run(items, [&](std::int64_t item, int) {
    const std::int64_t end = std::min(lists.lists(), (item + 1) * kRowsPerItem);
    for (std::int64_t row = item * kRowsPerItem; row < end; ++row) {
      for (std::int64_t i = lists.first(row); i < lists.first(row + 1); ++i) {
        cells.data()[next[classes[i]]++] = {static_cast<double>(scores[i]), static_cast<std::uint32_t>(row), hits[i]};
      }
    }
  });
  Array<double> sorted(limits.begin(), limits.end());
  std::sort(sorted.begin(), sorted.end());

  ClassBounds bounds;
  for (Array<double>* values : {&bounds.ap_low, &bounds.ap_high, &bounds.auc_low, &bounds.auc_high}) {
    values->resize(num_classes);
  }
  bounds.ap_low_attained.assign(num_classes, 1);
  bounds.ap_high_attained.assign(num_classes, 1);
  Array<Scratch> scratch(std::max(runner.threads, 1));
  constexpr std::int64_t kClassesPerItem = 64;
  runner.share(0.3, 1.0).run(items_of(num_classes, kClassesPerItem), [&](std::int64_t item, int worker) {
    const std::int64_t end = std::min(num_classes, (item + 1) * kClassesPerItem);
    for (std::int64_t c = item * kClassesPerItem; c < end; ++c) {
      const auto rows_of = [&](const CellsOfClasses& list) {
        return Span<const std::uint32_t>(list.rows + list.classes.first(c), list.classes.length(c));
      };
      OneClass({cells.data() + offset.first(c), offset.length(c)}, rows_of(hidden), rows_of(unknown), limits, sorted,
               scratch[worker])
          .write(bounds, c);
    }
  });
  return bounds;
}

template void sort_lists(OffsetSpan, std::int64_t, std::int32_t*, float*, double*, const Runner&);
template void sort_lists(OffsetSpan, std::int64_t, std::int32_t*, double*, double*, const Runner&);
template double pooled_precision(OffsetSpan, const float*, const std::uint8_t*, std::int64_t, const Runner&);
template double pooled_precision(OffsetSpan, const double*, const std::uint8_t*, std::int64_t, const Runner&);
template ClassBounds class_bounds(OffsetSpan, const std::int32_t*, const float*, const std::uint8_t*,
                                  Span<const double>, const CellsOfClasses&, const CellsOfClasses&, const Runner&);
template ClassBounds class_bounds(OffsetSpan, const std::int32_t*, const double*, const std::uint8_t*,
                                  Span<const double>, const CellsOfClasses&, const CellsOfClasses&, const Runner&);

}  // namespace vltr::cpu
