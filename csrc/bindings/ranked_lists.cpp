// Ranked lists and their text files.
#include "bindings/bindings.hpp"

#include "cpu/list_text.hpp"
#include "cpu/ranked_lists.hpp"

namespace vltr {
namespace {

using ClassArray = NumberArray<std::int32_t>;
using MarkArray = NumberArray<std::uint8_t>;

OffsetSpan to_lists(const IntArray& offset, py::ssize_t count) {
  if (!are_offsets(offset.data(), offset.size(), offset.size() - 1, count)) {
    throw py::value_error("offset: expected offsets of lists that rise from 0 to the number of their elements");
  }
  return {offset.data(), offset.size()};
}

void check_size(const char* name, py::ssize_t size, py::ssize_t expected) {
  if (size != expected) throw py::value_error(std::string(name) + ": expected one for each listed class");
}

template <class Function>
auto with_scores(const py::array& scores, Function&& function) {
  if (py::isinstance<py::array_t<float>>(scores)) return function(scores.cast<NumberArray<float>>());
  return function(scores.cast<DoubleArray>());
}

// Returns (classes, scores, lowest): copies, sorted. scores: None for lists in order.
py::tuple sort_lists(const IntArray& offset, const ClassArray& classes, const py::object& scores,
                     std::int64_t num_classes, int threads, const py::object& progress) {
  const OffsetSpan lists = to_lists(offset, classes.size());
  if (num_classes < 0) throw py::value_error("num_classes: expected a number from 0 up");
  py::array_t<std::int32_t> sorted(classes.size());
  std::copy_n(classes.data(), classes.size(), sorted.mutable_data());
  std::int32_t* const to = sorted.mutable_data();
  if (scores.is_none()) {
    Call(threads, progress)(
        [&](const cpu::Runner& runner) { cpu::sort_lists<float>(lists, num_classes, to, nullptr, nullptr, runner); });
    return py::make_tuple(sorted, py::none(), py::none());
  }
  return with_scores(scores.cast<py::array>(), [&](const auto& values) -> py::tuple {
    using Score = std::remove_const_t<std::remove_pointer_t<decltype(values.data())>>;
    check_size("scores", values.size(), classes.size());
    py::array_t<Score> copy(values.size());
    std::copy_n(values.data(), values.size(), copy.mutable_data());
    py::array_t<double> lowest(lists.lists());
    Score* const to_scores = copy.mutable_data();
    double* const to_lowest = lowest.mutable_data();
    Call(threads, progress)([&](const cpu::Runner& runner) {
      cpu::sort_lists<Score>(lists, num_classes, to, to_scores, to_lowest, runner);
    });
    return py::make_tuple(sorted, copy, lowest);
  });
}

py::array_t<std::uint8_t> mark_listed(const IntArray& offset, const ClassArray& classes, const IntArray& other_offset,
                                      const ClassArray& others, int threads, const py::object& progress) {
  const OffsetSpan lists = to_lists(offset, classes.size());
  const OffsetSpan other_lists = to_lists(other_offset, others.size());
  if (lists.lists() != other_lists.lists()) throw py::value_error("other_offset: expected a list for each row");
  py::array_t<std::uint8_t> marks(classes.size());
  std::uint8_t* const to = marks.mutable_data();
  Call(threads, progress)([&](const cpu::Runner& runner) {
    cpu::mark_listed(lists, classes.data(), other_lists, others.data(), to, runner);
  });
  return marks;
}

double pooled_precision(const IntArray& offset, const py::array& scores, const MarkArray& hits, std::int64_t depth,
                        int threads, const py::object& progress) {
  const OffsetSpan lists = to_lists(offset, scores.size());
  check_size("hits", hits.size(), scores.size());
  return with_scores(scores, [&](const auto& values) {
    return Call(threads, progress)([&](const cpu::Runner& runner) {
      return cpu::pooled_precision(lists, values.data(), hits.data(), depth, runner);
    });
  });
}

cpu::CellsOfClasses to_class_cells(const IntArray& offset, const RowArray& rows, std::int64_t num_classes,
                                   std::int64_t num_rows) {
  if (!are_offsets(offset.data(), offset.size(), num_classes, rows.size())) {
    throw py::value_error("offset: expected offsets of the classes that rise from 0 to the number of rows");
  }
  if (std::any_of(rows.data(), rows.data() + rows.size(), [&](std::uint32_t row) { return row >= num_rows; })) {
    throw py::value_error("rows: expected row numbers below the number of lists");
  }
  return {{offset.data(), offset.size()}, rows.data()};
}

// Returns (ap_low, ap_high, auc_low, auc_high, ap_low_attained, ap_high_attained).
py::tuple class_bounds(const IntArray& offset, const ClassArray& classes, const py::array& scores,
                       const MarkArray& hits, const DoubleArray& limits, const IntArray& hidden_offset,
                       const RowArray& hidden_rows, const IntArray& unknown_offset, const RowArray& unknown_rows,
                       int threads, const py::object& progress) {
  const OffsetSpan lists = to_lists(offset, classes.size());
  const std::int64_t num_classes = hidden_offset.size() - 1;
  check_size("scores", scores.size(), classes.size());
  check_size("hits", hits.size(), classes.size());
  if (limits.size() != lists.lists() || limits.size() > std::numeric_limits<std::int32_t>::max()) {
    throw py::value_error("limits: expected one for each of at most 2**31 - 1 rows");
  }
  const cpu::CellsOfClasses hidden = to_class_cells(hidden_offset, hidden_rows, num_classes, lists.lists());
  const cpu::CellsOfClasses unknown = to_class_cells(unknown_offset, unknown_rows, num_classes, lists.lists());
  if (std::any_of(classes.data(), classes.data() + classes.size(),
                  [&](std::int32_t cls) { return cls < 0 || cls >= num_classes; })) {
    throw py::value_error("classes: expected class indices below the number of classes");
  }
  cpu::ClassBounds found = with_scores(scores, [&](const auto& values) {
    return Call(threads, progress)([&](const cpu::Runner& runner) {
      return cpu::class_bounds(lists, classes.data(), values.data(), hits.data(),
                               Span<const double>(limits.data(), limits.size()), hidden, unknown, runner);
    });
  });
  return py::make_tuple(to_numpy(std::move(found.ap_low)), to_numpy(std::move(found.ap_high)),
                        to_numpy(std::move(found.auc_low)), to_numpy(std::move(found.auc_high)),
                        to_numpy(std::move(found.ap_low_attained)), to_numpy(std::move(found.ap_high_attained)));
}

// Returns (id_first, id_length, offset, classes, scores), or (error, line, first byte, bytes).
py::tuple read_list_text(const NumberArray<std::uint8_t>& text, int form, int threads, const py::object& progress) {
  if (form < 0 || form > 2) throw py::value_error("form: expected 0, 1 or 2");
  cpu::ListText found = Call(threads, progress)([&](const cpu::Runner& runner) {
    return cpu::read_list_text({reinterpret_cast<const char*>(text.data()), text.size()},
                               static_cast<cpu::ListForm>(form), runner);
  });
  if (found.error != cpu::ListTextError::kNone) {
    return py::make_tuple(static_cast<int>(found.error), found.error_line, found.error_first, found.error_length);
  }
  return py::make_tuple(to_numpy(std::move(found.id_first)), to_numpy(std::move(found.id_length)),
                        to_numpy(std::move(found.offset)), to_numpy(std::move(found.classes)),
                        to_numpy(std::move(found.scores)));
}

}  // namespace

void bind_ranked_lists(py::module_& module) {
  module.def("sort_lists", &sort_lists, "offset"_a, "classes"_a, "scores"_a, "num_classes"_a, "threads"_a, "progress"_a,
             "Returns sorted copies of the lists, and the lowest score of each.");
  module.def("mark_listed", &mark_listed, "offset"_a, "classes"_a, "other_offset"_a, "others"_a, "threads"_a,
             "progress"_a, "Returns 1 for each class that is in the other list of its row.");
  module.def("pooled_precision", &pooled_precision, "offset"_a, "scores"_a, "hits"_a, "depth"_a, "threads"_a,
             "progress"_a, "Returns the sum of the precision at each hit among the pairs of all rows.");
  module.def("class_bounds", &class_bounds, "offset"_a, "classes"_a, "scores"_a, "hits"_a, "limits"_a,
             "hidden_offset"_a, "hidden_rows"_a, "unknown_offset"_a, "unknown_rows"_a, "threads"_a, "progress"_a,
             "Returns bounds of the AP and the ROC-AUC of each class, and whether those of AP are attained.");
  module.def("read_list_text", &read_list_text, "text"_a, "form"_a, "threads"_a, "progress"_a,
             "Returns the ranked lists of a text, or its first error.");
}

}  // namespace vltr
