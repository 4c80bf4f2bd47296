#pragma once
// Table-driven tests of diagnostics: each case makes a bad model and imports it; the text must equal the section of
// its name in expected/<table>.txt, byte for byte. FCC_UPDATE_EXPECTED=1 rewrites the files; review the difference.
// A case whose text is "accepted" records that the importer takes such a model on purpose.
#include <functional>
#include <string>
#include <vector>

#include "frontend/onnx/import.h"
#include "tests/errors/model_maker.h"

namespace fcc::test {

struct ErrorCase {
  std::string name;  // the row of the fault list it covers, then what is wrong: "r23_duplicate_output"
  std::function<Result<Import>(const TempDir&)> run;
};

// From bytes that do not come from a file.
ErrorCase bad_bytes(std::string name, std::function<std::string()> bytes, ImportOptions options = {});
// From a model, changed by `spoil`.
ErrorCase bad_model(std::string name, ModelMaker (*good)(), std::function<void(ModelMaker&)> spoil,
                    ImportOptions options = {});

// Runs all cases of a table against expected/<table>.txt; each must end within a second. A refusal has a place and a
// hint. Where FCC_COMMAND is defined, the fcc command must say the same of those models that are one file.
void check_error_cases(const std::string& table, const std::vector<ErrorCase>& cases);

// Imports bytes as the file m.onnx.
Result<Import> import_string(const std::string& bytes, const std::string& base_dir = "",
                             const ImportOptions& options = {});

}  // namespace fcc::test
