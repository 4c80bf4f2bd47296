// Loss and accuracy over any number of rows, in pieces that the model takes.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "text.h"
#include "training/trainer.h"

namespace fcc::runtime {
namespace {

constexpr int64_t kUsualRows = 256;

// One input over all rows: how many there are, and how to cut them.
struct Column {
  const fcc_tensor* tensor;
  int64_t dims[kMostDims];  // of all rows
  uint32_t rank;
  int64_t row_bytes;
  bool cut;  // false: the whole tensor goes into every piece
};

fcc_status column_of(const fcc_entry& entry, uint32_t index, const fcc_tensor& tensor, Column* column) {
  const fcc_slot& slot = entry.inputs[index];
  if (tensor.dims == nullptr && tensor.rank > 0) return fail(FCC_BAD_BUFFER, "input \"%s\": dims is null", slot.name);
  if (slot.rank > kMostDims || tensor.rank > kMostDims)
    return fail(FCC_BAD_SHAPE, "input \"%s\" has more than %u dimensions", slot.name, kMostDims);
  *column = {&tensor, {}, slot.rank, 0, slot.rank > 0};
  std::copy_n(tensor.dims, tensor.rank, column->dims);
  int64_t row_elements = 1;
  if (tensor.rank == 1 && slot.rank > 1 && !fit_rows(slot, tensor, column->dims)) {  // flat
    std::copy_n(tensor.dims, tensor.rank, column->dims);
    for (uint32_t axis = 1; axis < slot.rank; ++axis) {
      const fcc_size& size = slot.dims[axis];
      if (size.kind != FCC_SIZE_FIXED)
        return fail(FCC_BAD_SHAPE, "input \"%s\" wants %s: pass the dims with the data", slot.name,
                    slot_text(entry, slot).c_str());
      column->dims[axis] = size.value;
      row_elements *= size.value;
    }
    int64_t elements = tensor.dims[0];
    if (row_elements == 0 || elements % row_elements != 0)
      return fail(FCC_BAD_SHAPE, "input \"%s\" wants %s: %lld elements are no whole number of rows", slot.name,
                  slot_text(entry, slot).c_str(), static_cast<long long>(elements));
    column->dims[0] = elements / row_elements;
  } else if (fit_rows(slot, tensor, column->dims)) {
    for (uint32_t axis = 1; axis < slot.rank; ++axis) row_elements *= column->dims[axis];
  } else if (tensor.rank != slot.rank) {
    return fail(FCC_BAD_SHAPE, "input \"%s\" wants %s, got %s", slot.name, slot_text(entry, slot).c_str(),
                shape_text(tensor.dtype, tensor.rank, tensor.dims).c_str());
  } else {
    for (uint32_t axis = 1; axis < slot.rank; ++axis) row_elements *= column->dims[axis];
  }
  column->row_bytes = row_elements * dtype_bytes(tensor.dtype);
  return FCC_OK;
}

// How many rows a call may take.
int64_t piece_rows(const fcc_entry& entry, int64_t wanted) {
  int64_t rows = wanted > 0 ? wanted : kUsualRows;
  const fcc_size& size = entry.inputs[0].dims[0];
  if (size.kind == FCC_SIZE_FIXED) return std::max<int64_t>(size.value, 1);
  const fcc_symbol& symbol = entry.symbols[size.index];
  return std::clamp(rows, std::max<int64_t>(symbol.min, 1), std::max<int64_t>(symbol.max, 1));
}

int64_t label_at(const fcc_tensor& labels, int64_t i) {
  switch (labels.dtype) {
    case FCC_I64:
      return static_cast<const int64_t*>(labels.data)[i];
    case FCC_I32:
      return static_cast<const int32_t*>(labels.data)[i];
    default:
      return static_cast<const uint8_t*>(labels.data)[i];
  }
}

// labels [N, rest...] against scores [N, C, rest...]: whether the largest score is the label's. Negative labels, such
// as the usual ignore_index, are not judged.
template <class Float>
void judge(const fcc_tensor& scores, const fcc_tensor& labels, fcc_evaluation* e) {
  int64_t classes = scores.dims[1], inner = 1;
  for (uint32_t axis = 2; axis < scores.rank; ++axis) inner *= scores.dims[axis];
  const auto* values = static_cast<const Float*>(scores.data);
  for (int64_t n = 0; n < scores.dims[0]; ++n)
    for (int64_t k = 0; k < inner; ++k) {
      const Float* row = values + n * classes * inner + k;
      int64_t best = 0;
      for (int64_t c = 1; c < classes; ++c)
        if (row[c * inner] > row[best * inner]) best = c;
      int64_t label = label_at(labels, n * inner + k);
      e->judged += label >= 0;
      e->correct += label == best;
    }
}

bool is_label(uint32_t dtype) {
  return dtype == FCC_I64 || dtype == FCC_I32 || dtype == FCC_U8;
}

// The output that a target is compared with: "target.NAME" with NAME, "target" with the first after the loss.
bool output_of(const fcc_entry& entry, const char* target, uint32_t* index) {
  const char* wanted = std::strncmp(target, "target.", 7) == 0 ? target + 7 : nullptr;
  for (uint32_t i = 0; i < entry.n_outputs; ++i) {
    if (wanted == nullptr ? std::strcmp(entry.outputs[i].name, "loss") == 0
                          : std::strcmp(entry.outputs[i].name, wanted) != 0)
      continue;
    *index = i;
    return true;
  }
  return false;
}

fcc_status judge_outputs(Session& session, const fcc_tensor* pieces, uint32_t first_target, fcc_evaluation* e) {
  const fcc_entry& entry = session.entry();
  for (uint32_t t = first_target; t < entry.n_inputs; ++t) {
    uint32_t index = 0;
    const fcc_slot& slot = entry.inputs[t];
    if (!is_label(slot.dtype) || !output_of(entry, slot.name, &index)) continue;
    fcc_tensor scores{};
    FCC_RETURN_IF_FAILED(session.output(index, &scores));
    if (scores.rank != slot.rank + 1 || scores.rank < 2) continue;
    if (scores.dtype == FCC_F32) judge<float>(scores, pieces[t], e);
    if (scores.dtype == FCC_F64) judge<double>(scores, pieces[t], e);
  }
  return FCC_OK;
}

}  // namespace

fcc_status Trainer::evaluate(const fcc_tensor* tensors, uint32_t count, int64_t batch_rows,
                             fcc_evaluation* evaluation) {
  Session* session = nullptr;
  FCC_RETURN_IF_FAILED(need("evaluate", "(any release)", &session));
  const fcc_entry& entry = session->entry();
  if (count != entry.n_inputs) return bind(*session, tensors, count);  // refuses, with the list
  std::vector<Column> columns(count);
  for (uint32_t i = 0; i < count; ++i) FCC_RETURN_IF_FAILED(column_of(entry, i, tensors[i], &columns[i]));
  if (count == 0 || !columns[0].cut)
    return fail(FCC_BAD_SHAPE, "evaluate needs rows: input 0 of the model has no dimensions");
  int64_t rows = columns[0].dims[0], most = piece_rows(entry, batch_rows);
  if (rows == 0)
    return fail(FCC_BAD_SHAPE, "the evaluation set is empty: input \"%s\" has no rows", entry.inputs[0].name);
  for (uint32_t i = 1; i < count; ++i) {
    columns[i].cut = columns[i].cut && columns[i].dims[0] == rows;
    bool same_size = entry.inputs[i].rank > 0 && entry.inputs[i].dims[0].kind == entry.inputs[0].dims[0].kind &&
                     entry.inputs[i].dims[0].kind == FCC_SIZE_SYMBOL &&
                     entry.inputs[i].dims[0].index == entry.inputs[0].dims[0].index;
    if (same_size && !columns[i].cut)
      return fail(FCC_BAD_SHAPE, "input \"%s\" has %lld rows, input \"%s\" has %lld", entry.inputs[0].name,
                  static_cast<long long>(rows), entry.inputs[i].name, static_cast<long long>(columns[i].dims[0]));
  }
  uint32_t first_target = infer_ != nullptr ? infer_->entry().n_inputs : count - 1;
  fcc_evaluation e{};
  std::vector<fcc_tensor> pieces(count);
  std::vector<int64_t> dims(count * kMostDims);
  double sum = 0;
  for (int64_t at = 0; at < rows; at += most) {
    int64_t n = std::min(most, rows - at);
    for (uint32_t i = 0; i < count; ++i) {
      const Column& column = columns[i];
      int64_t* piece_dims = dims.data() + i * kMostDims;
      std::copy_n(column.dims, column.rank, piece_dims);
      if (column.cut) piece_dims[0] = n;
      auto* data = static_cast<std::byte*>(column.tensor->data);
      pieces[i] = {column.cut && data ? data + at * column.row_bytes : data, column.tensor->dtype, column.rank,
                   piece_dims, column.tensor->strides};
    }
    FCC_RETURN_IF_FAILED(bind(*session, pieces.data(), count));
    double loss = 0;
    FCC_RETURN_IF_FAILED(run(*session, &loss));
    sum += loss * static_cast<double>(n);
    e.rows += n;
    FCC_RETURN_IF_FAILED(judge_outputs(*session, pieces.data(), first_target, &e));
  }
  e.loss = sum / static_cast<double>(e.rows);
  e.accuracy = e.judged > 0 ? static_cast<double>(e.correct) / static_cast<double>(e.judged)
                            : std::numeric_limits<double>::quiet_NaN();
  *evaluation = e;
  return FCC_OK;
}

}  // namespace fcc::runtime
