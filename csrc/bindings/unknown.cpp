// Cells that are neither positive nor negative, from lists or bits in numpy arrays.
#include "bindings/unknown.hpp"

namespace vltr {
namespace {

std::int64_t count_bits(const std::uint64_t* words, std::int64_t count) {
  std::int64_t bits = 0;
  for (std::int64_t i = 0; i < count; ++i) bits += __builtin_popcountll(words[i]);
  return bits;
}

}  // namespace

LentUnknownCells::LentUnknownCells(std::int64_t num_rows, const IntArray& offset, const RowArray& rows)
    : offset_(offset), rows_(rows) {
  if (offset.size() == 0) throw py::value_error("unknown: expected an offset for each class and one more, got none");
  const cpu::Positives lists = to_positives(offset, rows, num_rows, offset.size() - 1);  // checks them
  counts_ = IntArray(lists.classes());
  for (std::int64_t c = 0; c < lists.classes(); ++c) counts_.mutable_data()[c] = lists.offset.length(c);
  cells_.rows = num_rows;
  cells_.count = {counts_.data(), counts_.size()};
  cells_.offset = {offset_.data(), offset_.size()};
  cells_.listed = {rows_.data(), rows_.size()};
}

LentUnknownCells::LentUnknownCells(std::int64_t num_rows, const WordArray& bits) : bits_(bits) {
  const std::int64_t words = (num_rows + 63) / 64;
  if (num_rows < 0 || num_rows > kMaxRows || bits.ndim() != 2 || bits.shape(1) != words) {
    throw py::value_error("unknown: expected (C, ceil(N / 64)) words of bits");
  }
  counts_ = IntArray(bits.shape(0));
  for (std::int64_t c = 0; c < bits.shape(0); ++c) {
    const std::uint64_t* const of_class = bits_.data() + c * words;
    if (num_rows % 64 != 0 && of_class[words - 1] >> (num_rows % 64) != 0) {
      throw py::value_error("unknown: expected no bit after the last row");
    }
    counts_.mutable_data()[c] = count_bits(of_class, words);
  }
  cells_.rows = num_rows;
  cells_.count = {counts_.data(), counts_.size()};
  cells_.bits = bits_.data();
  cells_.words = words;
}

void LentUnknownCells::check_fits(std::int64_t rows, std::int64_t classes) const {
  if (cells_.rows != rows || cells_.classes() != classes) {
    throw py::value_error("unknown: expected cells of a matrix of " + std::to_string(rows) + " rows and " +
                          std::to_string(classes) + " classes, got " + std::to_string(cells_.rows) + " and " +
                          std::to_string(cells_.classes()));
  }
}

ClassRows to_class_rows(std::int64_t num_rows, const std::optional<IntArray>& unknown, std::int64_t num_classes) {
  if (!unknown) return {num_rows, nullptr};
  const bool valid = unknown->size() == num_classes &&
                     std::all_of(unknown->data(), unknown->data() + unknown->size(),
                                 [=](std::int64_t count) { return count >= 0 && count <= num_rows; });
  if (!valid) throw py::value_error("unknown: expected a count for each class, from 0 to the rows");
  return {num_rows, unknown->data()};
}

void bind_unknown(py::module_& module) {
  py::class_<LentUnknownCells>(module, "UnknownCells",
                               "Cells that are neither positive nor negative of their class, as lists or as bits. It "
                               "keeps its arrays alive; nobody may change them.")
      .def(py::init<std::int64_t, const IntArray&, const RowArray&>(), "num_rows"_a, "offset"_a, "rows"_a)
      .def(py::init<std::int64_t, const LentUnknownCells::WordArray&>(), "num_rows"_a, "bits"_a)
      .def_property_readonly("counts", &LentUnknownCells::counts);
}

}  // namespace vltr
