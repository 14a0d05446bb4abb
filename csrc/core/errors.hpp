// Errors in the data of a call. Every device throws the same.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace vltr {

// A bad value in an input: the argument's name, and the first cell in row order that has one.
struct BadValue : std::runtime_error {
  BadValue(const char* argument, std::int64_t bad_row, std::int64_t bad_col)
      : std::runtime_error(argument), row(bad_row), col(bad_col) {}
  std::int64_t row;
  std::int64_t col;
};

// A second read of the scores did not find those of the first. Memory is safe, but no result is right.
struct ScoresChanged : std::runtime_error {
  ScoresChanged()
      : std::runtime_error(
            "scores: expected the same values throughout the call, got values that changed; let no other "
            "thread or process write them meanwhile") {}
};

// The given thresholds lack the score of a positive of this shard.
struct MissingThreshold : std::invalid_argument {
  explicit MissingThreshold(std::int64_t cls)
      : std::invalid_argument(
            "thresholds: expected the scores of all positives, got some without those of this shard in class " +
            std::to_string(cls) + "; merge positive_scores() of every shard") {}
};

}  // namespace vltr
