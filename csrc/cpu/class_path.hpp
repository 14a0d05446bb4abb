// The path of each class in a rank scan: its scores are searched for among the thresholds, or the class is sorted.
//
// The choice is made here alone, by counts alone, so no result depends on a machine. Both paths give the same bits.
#pragma once

#include "cpu/positives.hpp"

namespace vltr::cpu {

// True if a class is dense, so that sorting it is faster than searching for each of its scores.
bool is_dense(std::int64_t positives, std::int64_t rows);

// The dense classes, ascending. VLTR_PATH=search or sort in the environment forces one path for all classes, for tests.
Array<std::int64_t> dense_classes(const Positives& positives, std::int64_t rows);

}  // namespace vltr::cpu
