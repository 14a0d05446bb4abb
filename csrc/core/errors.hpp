// What a call may find wrong with its data: each device throws the same.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace vltr {

// What a value of the input should not have been, with the first place (in row order) where it stands.
struct BadValue : std::runtime_error {
  BadValue(const char* what, std::int64_t bad_row, std::int64_t bad_col)
      : std::runtime_error(what), row(bad_row), col(bad_col) {}
  std::int64_t row;
  std::int64_t col;
};

// Given thresholds lack a score of this shard's positives.
struct MissingThreshold : std::invalid_argument {
  explicit MissingThreshold(std::int64_t cls)
      : std::invalid_argument(
            "thresholds: expected the scores of all positives, got some without those of this shard in class " +
            std::to_string(cls) + "; merge positive_scores() of every shard") {}
};

}  // namespace vltr
