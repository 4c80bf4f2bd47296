#include "tools/fit/history.h"

#include <fmt/format.h>

#include <cmath>

#include "fcc/data.hpp"
#include "tools/files.h"
#include "tools/runtime_error.h"

namespace fcc {
namespace {

constexpr std::string_view kHeader = "epoch,steps,lr,loss,accuracy,val_loss,val_accuracy,seconds,rows_per_second\n";

// Empty where there is no value, as spreadsheets and pandas expect.
std::string cell(double value) {
  return std::isnan(value) ? "" : fmt::format("{:.7g}", value);
}

std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> out(1);
  for (char c : line)
    if (c == ',')
      out.emplace_back();
    else if (c != '\r')
      out.back() += c;
  return out;
}

double number(const std::string& text) {
  return text.empty() ? std::nan("") : std::strtod(text.c_str(), nullptr);
}

}  // namespace

std::string csv_of(const History& history) {
  std::string out(kHeader);
  for (const EpochRow& r : history.epochs)
    out += fmt::format("{},{},{},{},{},{},{},{},{}\n", r.epoch, r.steps, cell(r.lr), cell(r.loss), cell(r.accuracy),
                       cell(r.val_loss), cell(r.val_accuracy), cell(r.seconds), cell(r.rows_per_second));
  return out;
}

Result<History> read_history(const std::string& path, int64_t last_epoch) {
  FCC_TRY(std::string text, read_text_file(path));
  if (!text.starts_with(kHeader))
    return fail(fmt::format("{} is not a log of fcc fit", path), {}, "choose another file for --log");
  History history;
  for (size_t at = kHeader.size(); at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::vector<std::string> c = cells(text.substr(at, end - at));
    at = end + 1;
    if (c.size() != 9) continue;
    EpochRow row{.epoch = std::atoll(c[0].c_str()),
                 .steps = std::atoll(c[1].c_str()),
                 .lr = number(c[2]),
                 .loss = number(c[3]),
                 .accuracy = number(c[4]),
                 .val_loss = number(c[5]),
                 .val_accuracy = number(c[6]),
                 .seconds = number(c[7]),
                 .rows_per_second = number(c[8])};
    if (row.epoch >= 1 && row.epoch <= last_epoch) history.epochs.push_back(row);
  }
  return history;
}

std::string line_of(const EpochRow& r, int64_t epochs) {
  std::string out = fmt::format("epoch {}/{}  loss {:.4f}", r.epoch, epochs, r.loss);
  if (!std::isnan(r.accuracy)) out += fmt::format("  accuracy {:.2f} %", 100 * r.accuracy);
  if (!std::isnan(r.val_loss)) out += fmt::format("  val loss {:.4f}", r.val_loss);
  if (!std::isnan(r.val_accuracy)) out += fmt::format("  val accuracy {:.2f} %", 100 * r.val_accuracy);
  return out + fmt::format("  lr {:.3g}  {:.0f} samples/s", r.lr, r.rows_per_second);
}

}  // namespace fcc
