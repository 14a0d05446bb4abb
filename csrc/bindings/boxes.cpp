// Tables of boxes and their text.
#include "cpu/box_text.hpp"

#include "bindings/bindings.hpp"

#include "cpu/box_order.hpp"

namespace vltr {
namespace {

using TextArray = NumberArray<std::uint8_t>;

Span<const char> to_text(const TextArray& text) { return {reinterpret_cast<const char*>(text.data()), text.size()}; }

template <class T>
T* to_column(const char* name, const py::array& column, std::int64_t numbers) {
  if (!py::isinstance<NumberArray<T>>(column) || column.size() < numbers || !column.writeable()) {
    throw py::value_error(std::string(name) + ": expected a column of as many rows as the others");
  }
  return static_cast<T*>(py::array(column).mutable_data());
}

// Returns None for a text that is not plain, else (lines, boxes, first unscored line, names, lines of the boxes or None
// for all, videos and times of images). The columns get the boxes.
py::object read_box_text(const TextArray& text, bool boxes, const py::array& video, const py::array& time,
                         const py::array& corners, const py::array& cls, const py::array& score, int threads) {
  cpu::BoxColumns columns;
  if (boxes) {
    const std::int64_t room = video.size();
    columns = {room,
               to_column<std::int32_t>("video", video, room),
               to_column<double>("time", time, room),
               to_column<double>("corners", corners, 4 * room),
               to_column<std::int32_t>("cls", cls, room),
               to_column<double>("score", score, room)};
  }
  cpu::BoxText found = Call(threads, py::none())(
      [&](const cpu::Runner& runner) { return cpu::read_box_text(to_text(text), boxes, columns, runner); });
  if (!found.plain) return py::none();
  py::list names;
  const char* const start = to_text(text).data();
  for (std::size_t name = 0; name < found.name_first.size(); ++name) {
    names.append(py::bytes(start + found.name_first[name], static_cast<std::size_t>(found.name_length[name])));
  }
  py::object lines = py::none();
  if (found.boxes != found.lines) lines = to_numpy(std::move(found.box_line));
  return py::make_tuple(found.lines, found.boxes, found.unscored_line, names, lines,
                        to_numpy(std::move(found.image_video)), to_numpy(std::move(found.image_time)));
}

// Returns the kept rows of each group, by content.
py::object order_boxes(const IntArray& rows, const IntArray& offset, const NumberArray<std::int32_t>& cls,
                       const DoubleArray& corners, const DoubleArray& score, std::int64_t limit, int threads,
                       const py::object& progress) {
  const std::int64_t size = cls.size();
  if (corners.size() != 4 * size || score.size() != size || limit < 0) {
    throw py::value_error("corners: expected four corners and a score for each class, and a limit from 0 up");
  }
  if (!are_offsets(offset.data(), offset.size(), offset.size() - 1, rows.size())) {
    throw py::value_error("offset: expected offsets of groups that rise from 0 to the number of rows");
  }
  if (std::any_of(rows.data(), rows.data() + rows.size(), [&](std::int64_t row) { return row < 0 || row >= size; })) {
    throw py::value_error("rows: expected row numbers below the number of boxes");
  }
  IntArray kept(rows.size());
  std::int64_t* const to = kept.mutable_data();
  const std::int64_t total = Call(threads, progress)([&](const cpu::Runner& runner) {
    return cpu::order_boxes({cls.data(), corners.data(), score.data()}, {rows.data(), rows.size()},
                            {offset.data(), offset.size()}, limit, to, runner);
  });
  return kept[py::slice(0, total, 1)];
}

}  // namespace

void bind_boxes(py::module_& module) {
  module.def("read_box_text", &read_box_text, "text"_a, "boxes"_a, "video"_a, "time"_a, "corners"_a, "cls"_a, "score"_a,
             "threads"_a, "Reads the boxes of a plain text into the columns; returns None for another text.");
  module.def("order_boxes", &order_boxes, "rows"_a, "offset"_a, "cls"_a, "corners"_a, "score"_a, "limit"_a, "threads"_a,
             "progress"_a, "Returns the best rows of each group, by class, corners and score.");
}

}  // namespace vltr
