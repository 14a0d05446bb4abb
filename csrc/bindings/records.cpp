// Records of TFRecord files. The data is any object with a buffer, such as bytes or a mapped file.
#include "bindings/bindings.hpp"
#include "cpu/tfrecord.hpp"

namespace vltr {
namespace {

struct Data {
  explicit Data(const py::buffer& buffer) : info(buffer.request()) {
    if (info.ndim != 1 || info.itemsize != 1 || (info.size > 1 && info.strides[0] != 1)) {
      throw py::value_error("data: expected bytes one after another");
    }
    begin = static_cast<const unsigned char*>(info.ptr);
    size = static_cast<std::int64_t>(info.size);
  }
  bool holds(std::int64_t offset, std::int64_t length) const {
    return offset >= 0 && length >= 0 && offset <= size && length <= size - offset;
  }
  py::buffer_info info;
  const unsigned char* begin;
  std::int64_t size;
};

py::tuple index_records(const py::buffer& buffer, int threads, const py::object& progress) {
  const Data data(buffer);
  auto index = Call(
      threads, progress)([&](const cpu::Runner& runner) { return cpu::index_records(data.begin, data.size, runner); });
  const int status = static_cast<int>(index.status);
  return py::make_tuple(to_numpy(std::move(index.offset)), to_numpy(std::move(index.length)), status, index.end);
}

// A column for each request, (offset, found, values), and (status, record, request) of the first failure.
py::tuple parse_records(const py::buffer& buffer, const IntArray& offset, const IntArray& length,
                        const std::vector<std::tuple<std::string, int, bool>>& features, int threads,
                        const py::object& progress) {
  const Data data(buffer);
  if (offset.ndim() != 1 || length.ndim() != 1 || offset.size() != length.size()) {
    throw py::value_error("length: expected one for each offset");
  }
  for (py::ssize_t k = 0; k < offset.size(); ++k) {
    if (!data.holds(offset.data()[k], length.data()[k])) {
      throw py::value_error("offset: expected records within the data");
    }
  }
  std::vector<cpu::FeatureRequest> requests;
  for (const auto& [name, kind, in_lists] : features) {
    if (kind < 0 || kind > 3) throw py::value_error("features: expected a kind from 0 to 3");
    requests.push_back({name, static_cast<cpu::FeatureKind>(kind), in_lists});
  }
  auto parsed = Call(threads, progress)([&](const cpu::Runner& runner) {
    return cpu::parse_records(data.begin, offset.data(), length.data(), offset.size(), requests, runner);
  });
  py::list columns;
  for (std::size_t k = 0; k < requests.size(); ++k) {
    auto& column = parsed.columns[k];
    const auto count = static_cast<py::ssize_t>(column.spans.size() / 2);
    py::object values = py::none();
    if (requests[k].kind == cpu::FeatureKind::kInt64) values = to_numpy(std::move(column.integers));
    if (requests[k].kind == cpu::FeatureKind::kFloat) values = to_numpy(std::move(column.floats));
    if (requests[k].kind == cpu::FeatureKind::kBytes) values = to_numpy(std::move(column.spans), {count, 2});
    columns.append(py::make_tuple(to_numpy(std::move(column.offset)), to_numpy(std::move(column.found)), values));
  }
  return py::make_tuple(columns, static_cast<int>(parsed.status), parsed.record, parsed.request);
}

std::int64_t expand_bytes(const py::buffer& buffer, const IntArray& spans, const py::array& table, py::array& out) {
  const Data data(buffer);
  const py::ssize_t element = table.itemsize();
  if ((element != 2 && element != 4) || table.ndim() != 1 || table.shape(0) != 256 ||
      (table.flags() & py::array::c_style) == 0) {
    throw py::value_error("table: expected 256 elements of 2 or 4 bytes");
  }
  if (spans.ndim() != 2 || spans.shape(1) != 2 || out.ndim() != 2 || out.shape(0) != spans.shape(0) ||
      !out.writeable() || out.itemsize() != element || (out.shape(1) > 1 && out.strides(1) != element)) {
    throw py::value_error("out: expected a row of the table's type for each span");
  }
  for (py::ssize_t k = 0; k < spans.shape(0); ++k) {
    if (!data.holds(spans.data()[2 * k], spans.data()[2 * k + 1])) {
      throw py::value_error("spans: expected bytes within the data");
    }
  }
  auto* to = static_cast<std::byte*>(out.mutable_data());
  const auto* from = static_cast<const std::byte*>(table.data());
  const py::ssize_t count = spans.shape(0), width = out.shape(1), stride = out.strides(0);
  const py::gil_scoped_release release;
  return cpu::expand_bytes(data.begin, spans.data(), count, width, from, element, to, stride);
}

}  // namespace

void bind_records(py::module_& module) {
  module.def(
      "crc32c",
      [](const py::buffer& buffer) {
        const Data data(buffer);
        return cpu::crc32c(data.begin, static_cast<std::size_t>(data.size));
      },
      "data"_a);
  module.def("index_records", &index_records, "data"_a, "threads"_a, "progress"_a);
  module.def("parse_records", &parse_records, "data"_a, "offset"_a, "length"_a, "features"_a, "threads"_a,
             "progress"_a);
  module.def("expand_bytes", &expand_bytes, "data"_a, "spans"_a, "table"_a, "out"_a);
}

}  // namespace vltr
