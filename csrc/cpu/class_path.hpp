// The path of each class in a rank scan: its scores are searched for among the thresholds, or the class is sorted.
//
// The choice is made here alone, by counts alone, so no result depends on a machine. Both paths give the same bits.
#pragma once

#include <algorithm>

#include "cpu/positives.hpp"

namespace vltr::cpu {

// The classes of each path, ascending.
struct ClassPaths {
  Array<std::int64_t> searched;
  Array<std::int64_t> sorted;

  Array<std::int64_t> all() const {
    Array<std::int64_t> classes(searched.count() + sorted.count());
    std::merge(searched.begin(), searched.end(), sorted.begin(), sorted.end(), classes.begin());
    return classes;
  }
};

// All classes are searched. Given thresholds are not those of the positives, so a sort would not give their counts.
ClassPaths search_all(std::int64_t classes);

// VLTR_PATH=search or sort in the environment forces one path for all classes, for tests.
ClassPaths class_paths(const Positives& positives, std::int64_t rows);

// The positives of some classes; the others have none.
OwnedPositives only(const Positives& positives, const Array<std::int64_t>& classes);

}  // namespace vltr::cpu
